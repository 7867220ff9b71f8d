"""What is proposed for a file: proven by its values, told where it is a guess, and running as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn_assets.errors import SourceError, SpecError
from churn_assets.months import Month
from churn_assets.proposal import Proposal, as_yaml, propose
from churn_assets.quality import validate
from churn_assets.spec import PLACE, PipelineSpec

ROWS = 60
FLAG = ["yes" if i % 4 == 0 else "no" for i in range(ROWS)]
IDS = [f"C{i:03d}" for i in range(ROWS)]


def written(folder: Path, name: str = "customers.csv", **columns: Any) -> Path:
    """A file of customers with a key, a churned column and ``columns``."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    table = {"customer_id": IDS, "calls": [str(i % 9) for i in range(ROWS)], **columns, "churned": FLAG}
    pl.DataFrame({n: v for n, v in table.items() if v is not None}).write_csv(file)
    return file


def proposed(folder: Path, **columns: Any) -> Proposal:
    return propose([written(folder, **columns)], "mine", folder / "data")


def column(folder: Path, values: list[Any], name: str = "x") -> dict[str, Any]:
    """What is proposed for a column of these values, repeated to fill the file."""
    found = proposed(folder, **{name: (values * ROWS)[:ROWS]})
    return next(c.given for c in found.columns if c.received == name)


def comments(found: Proposal) -> str:
    """All comments of the document, as one text."""
    return " ".join(line.split("#", 1)[1].strip() for line in as_yaml(found).splitlines() if "#" in line)


def assert_runs(found: Proposal) -> None:
    """The document is what was proposed, and its schema takes every row, but for those that it told of."""
    document = yaml.safe_load(as_yaml(found))
    assert document["type"] == "churn_assets.ChurnPipeline"
    spec = PipelineSpec.model_validate(document["attributes"])
    assert spec == found.spec
    assert all(len(line) <= 120 for line in as_yaml(found).splitlines() if "#" not in line)
    for delivery in found.looked.deliveries:
        assert validate(delivery.rows, spec.schema_, delivery.month).verdict.passed


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0", "7", "25"], {"type": "integer", "min": 0}),
        (["-3", "7", "25"], {"type": "integer"}),
        (["1.5", "2"], {"type": "number", "min": 0}),
        (["29.85$", "5$"], {"type": "number", "min": 0}),
        (["12 GB", "7 GB"], {"type": "number", "unit": "GB", "min": 0}),
        (["1,5", "1,234"], {"type": "number", "decimal": ",", "min": 0}),
        (["yes", "no"], {"type": "boolean"}),
        (["No"], {"type": "boolean"}),
        (["0", "1"], {"type": "boolean"}),
        (["0"], {"type": "integer", "min": 0}),
        (["b", "a"], {"type": "category", "allowed": ["a", "b"]}),
        (["Yes", "No", "No internet"], {"type": "category", "allowed": ["No", "No internet", "Yes"]}),
        (["5", "", " "], {"type": "integer", "min": 0, "nullable": True}),
        (["5", "?", "n.a."], {"type": "integer", "min": 0, "nullable": True, "missing": ["?", "n.a."]}),
        (["a", "NULL", "b"], {"type": "category", "allowed": ["a", "b"], "nullable": True, "missing": ["NULL"]}),
        (["dsl", "none"], {"type": "category", "allowed": ["dsl", "none"]}),
        (["5", "none"], {"type": "integer", "min": 0, "nullable": True, "missing": ["none"]}),
        (["01234", "99999"], {"type": "category", "allowed": ["01234", "99999"]}),
        (["2024-01-31", "2023-02-01"], {"type": "date"}),
        (["31/01/2024", "01/02/2023"], {"type": "date", "format": "%d/%m/%Y"}),
        (["2024-01-31 10:20:30", "2024-01-31 00:00:00"], {"type": "date", "format": "%Y-%m-%d %H:%M:%S"}),
        (["", "?"], {"type": "string", "role": "ignored"}),
    ],
)  # fmt: skip
def test_a_columns_type_is_proven_by_its_values(tmp_path: Path, values: list[str], expected: dict[str, Any]) -> None:
    assert column(tmp_path, values) == expected
    assert_runs(proposed(tmp_path, x=(values * ROWS)[:ROWS]))


def test_a_day_written_as_a_number_is_a_date_only_where_the_name_says_so(tmp_path: Path) -> None:
    assert column(tmp_path, ["20240131", "20240201"], "signup_date") == {"type": "date"}
    assert column(tmp_path, ["20240131", "20240201"], "usage")["type"] == "integer"


def test_what_a_customer_pays_may_have_cents_next_month(tmp_path: Path) -> None:
    found = proposed(tmp_path, MonthlyFee=["20", "35"] * (ROWS // 2))
    assert found.attributes["value"]["monthly_value"] == "MonthlyFee"
    assert found.attributes["schema"]["columns"]["MonthlyFee"] == {"type": "number", "min": 0}


def test_without_a_column_that_says_what_a_customer_pays_there_is_an_amount_to_be_replaced(tmp_path: Path) -> None:
    found = proposed(tmp_path, total_charges=["20.5", "35"] * (ROWS // 2))
    assert found.attributes["value"]["monthly_value"] == 20
    assert "put your own amount here" in comments(found)


def test_many_texts_are_no_category_and_texts_that_never_repeat_are_not_used(tmp_path: Path) -> None:
    town = [f"town {i % 25}" for i in range(ROWS)]
    found = proposed(tmp_path, town=town, surname=[f"Miller {i}" for i in range(ROWS)])
    columns = found.attributes["schema"]["columns"]
    assert columns["town"] == {"type": "string"}
    assert columns["surname"] == {"type": "string", "role": "ignored"}
    assert found.attributes["features"] == [{"kind": "columns", "columns": ["calls", "town"]}]


def test_few_values_that_fit_no_type_are_named_and_dont_change_it(tmp_path: Path) -> None:
    found = proposed(tmp_path, minutes=[*(str(i) for i in range(ROWS - 1)), "oops"])
    assert found.attributes["schema"]["columns"]["minutes"] == {"type": "integer", "min": 0}
    assert "1 value such as 'oops' (customers.csv, line 61) can't be read: their rows go to quarantine" in comments(
        found
    )
    assert "1 of 60 rows of customers.csv (1.7%) go to quarantine." in comments(found)
    assert_runs(found)


def test_infinity_is_no_number(tmp_path: Path) -> None:
    found = proposed(tmp_path, minutes=[*(f"{i}.5" for i in range(ROWS - 1)), "inf"])
    assert found.attributes["schema"]["columns"]["minutes"] == {"type": "number", "min": 0}
    assert "1 value such as 'inf' (customers.csv, line 61) can't be read" in comments(found)
    assert column(tmp_path, ["inf", "1.5"])["type"] == "category"


def test_numbers_that_can_be_read_in_two_ways_are_asked_for_in_the_words_of_the_validation(tmp_path: Path) -> None:
    found = proposed(tmp_path, usage=["1,234", "2,500"] * (ROWS // 2))
    assert found.attributes["schema"]["columns"]["usage"] == {"type": "number"}
    asked = "60 numbers such as '1,234' (customers.csv, line 2) may have thousands or decimals behind the mark."
    with pytest.raises(Exception, match="may have thousands or decimals behind the mark") as error:
        validate(found.looked.deliveries[0].rows, found.spec.schema_)
    assert "Set decimal: '.' or ','." in found.questions["usage"]
    assert "thousands or decimals behind the mark" in asked and "decimal: '.' or ','" in str(error.value)
    assert "Validation will stop and ask:" in comments(found)


def test_names_beside_one_odd_number_are_texts(tmp_path: Path) -> None:
    assert column(tmp_path, [*"abcdef", "1,234"])["type"] == "category"


def test_dates_that_can_be_read_in_two_ways_dont_stop_the_month_for_no_feature_needs_them(tmp_path: Path) -> None:
    found = proposed(tmp_path, joined=["01/02/2024", "03/04/2023"] * (ROWS // 2))
    assert found.attributes["schema"]["columns"]["joined"] == {"type": "date", "role": "ignored"}
    assert "may be day/month or month/day. Set format: '%d/%m/%Y' or '%m/%d/%Y'." in comments(found)
    assert_runs(found)


def test_the_best_named_key_wins(tmp_path: Path) -> None:
    found = proposed(tmp_path, RowNumber=range(ROWS), card_id=[f"k{i}" for i in range(ROWS)], phone=range(ROWS))
    assert found.attributes["schema"]["key"] == "customer_id"
    assert "customer_id" not in found.attributes["schema"]["columns"]
    for name in ("RowNumber", "card_id", "phone"):
        assert found.attributes["schema"]["columns"][name]["role"] == "ignored"


def test_without_a_key_a_row_is_named_after_its_content_and_equal_rows_are_told(tmp_path: Path) -> None:
    found = proposed(tmp_path, customer_id=None, customer=["a", "b"] * (ROWS // 2))
    schema = found.attributes["schema"]
    assert (schema["key"], schema["key_from"]) == ("customer_key", "content")
    # 9 numbers of calls, two customers, and one of them leaves every other time: 27 different rows.
    assert schema["max_error_rate"] == 0.55
    assert "'customer' has 58 repeated and 0 missing values" in comments(found)
    assert "33 of 60 rows of customers.csv (55.0%) go to quarantine: they equal another row" in comments(found)
    assert_runs(found)


def test_a_key_that_is_given_may_repeat_in_a_few_rows(tmp_path: Path) -> None:
    file = written(tmp_path, customer_id=[*IDS[:-1], IDS[0]])
    found = propose([file], "mine", tmp_path, key="Customer ID")
    assert found.attributes["schema"]["key"] == "customer_id"
    assert "1 rows repeat a customer" in comments(found)
    with pytest.raises(SpecError, match="--key: expected a column that names each customer once, found 'calls'"):
        propose([file], "mine", tmp_path, key="calls")


@pytest.mark.parametrize("name", ["Exited", "hasLeft", "is_cancelled", "Attrition_Flag", "CHURN"])
def test_the_column_that_says_who_has_left_is_found_by_its_name(tmp_path: Path, name: str) -> None:
    found = _renamed(tmp_path, name)
    assert found.attributes["schema"]["columns"][name] == {"type": "boolean", "role": "churned"}


def _renamed(folder: Path, name: str, values: list[str] = FLAG) -> Proposal:
    file = folder / "renamed.csv"
    pl.read_csv(written(folder)).drop("churned").with_columns(pl.Series(name, values)).write_csv(file)
    return propose([file], "mine", folder)


def test_two_texts_of_which_one_says_gone_are_taken_for_yes_and_no(tmp_path: Path) -> None:
    found = _renamed(tmp_path, "Attrition", ["Attrited Customer" if f == "yes" else "Existing Customer" for f in FLAG])
    assert found.attributes["schema"]["columns"]["Attrition"] == {
        "type": "boolean", "role": "churned", "true": ["Attrited Customer"], "false": ["Existing Customer"],
    }  # fmt: skip
    assert found.attributes["label"] == {"kind": "same_row"}
    assert "25.0% of the valid rows left" in comments(found)


def test_where_no_name_says_who_has_left_the_columns_of_yes_and_no_are_listed(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"Columns of yes and no: 'outcome'\. Say which one it is: --churned COLUMN\."):
        _renamed(tmp_path, "outcome")
    found = propose([tmp_path / "renamed.csv"], "mine", tmp_path, churned="Outcome")
    assert found.spec.schema_.churned == "outcome"
    with pytest.raises(SpecError, match=r"--churned: expected a column of the file, found 'outcom'\. Did you mean"):
        propose([tmp_path / "renamed.csv"], "mine", tmp_path, churned="outcom")
    with pytest.raises(SpecError, match="--churned: expected a column of yes and no, found 'calls' with 0 to 8"):
        propose([tmp_path / "renamed.csv"], "mine", tmp_path, churned="calls")


def test_two_columns_that_say_who_has_left_are_a_question_unless_they_agree(tmp_path: Path) -> None:
    agreeing = proposed(tmp_path, churn_value=["1" if f == "yes" else "0" for f in FLAG])
    assert agreeing.spec.schema_.churned == "churn_value"
    assert "Tells churn_value in every row" in comments(agreeing)
    with pytest.raises(SpecError, match=r"expected one column that says who has left, found 'left', 'churned'"):
        proposed(tmp_path, left=["yes", "no"] * (ROWS // 2))


def test_a_column_that_tells_the_outcome_is_warned_of(tmp_path: Path) -> None:
    found = proposed(tmp_path, last_state=["closed" if f == "yes" else "open" for f in FLAG])
    told = next(c.remarks for c in found.columns if c.name == "last_state")
    assert told == (
        "Tells churned in every row. If it is known only once a customer has left, the model would learn nothing else: "
        "give it role: ignored.",
    )
    assert not any("Tells" in r for c in found.columns if c.name == "calls" for r in c.remarks)


def test_names_are_made_neat_and_those_of_the_tables_are_given_up(tmp_path: Path) -> None:
    more = {
        "Call  Failure": FLAG,
        "part": ["1", "2", "3"] * (ROWS // 3),
        "Label": FLAG,
        "month": FLAG,
        "a-b": FLAG,
        "a_b": FLAG,
    }
    found = proposed(tmp_path, **{n: v[::-1] for n, v in more.items()})
    columns = found.attributes["schema"]["columns"]
    assert list(columns) == [
        "calls",
        "call_failure",
        "part_received",
        "Label_received",
        "month_received",
        "a-b",
        "a_b",
        "churned",
    ]
    assert columns["part_received"]["source"] == "part"
    assert "The tables use the name part themselves." in comments(found)
    assert columns["month_received"]["source"] == "month"
    assert_runs(found)


def test_a_value_that_is_missing_just_where_another_is_zero_suggests_its_meaning(tmp_path: Path) -> None:
    total = ["" if i % 9 == 0 else str(i / 8) for i in range(ROWS)]
    told = comments(proposed(tmp_path, total=total))
    assert "Missing just where calls is 0. If that means a value, say so instead of nullable: fill: 0" in told
    assert "fill_where: {calls: 0}" in told


def test_files_named_after_months_are_a_pipeline_that_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    files = [written(data / "incoming", f"crm_{m}.csv", fee=["20"] * 30 + ["9.5"] * 30)
             for m in ("2025-03", "2025-01", "2025-02", "2025-05")]  # fmt: skip
    found = propose(files, "mine", data)
    given = found.attributes
    assert given["months"] == {"start": "2025-01"}
    assert given["source"] == {"type": "file", "path": "incoming/crm_{month}.csv"}
    assert given["label"] == {"kind": "flag", "horizon": 1}
    assert {"kind": "delta", "column": "fee", "months": 1} in given["features"]
    assert "4 files were seen, 2025-01 to 2025-05; there is none for 2025-04." in comments(found)
    assert_runs(found)


def test_a_type_must_hold_in_every_month_and_what_one_month_proves_is_declared_for_all(tmp_path: Path) -> None:
    def month(name: str, **columns: list[str]) -> Path:
        return written(tmp_path, name, **{n: v * (ROWS // 2) for n, v in columns.items()})

    files = [
        month("2025_01.csv", plan=["a", "b"], joined=["31/01/2024", "01/02/2024"], size=["1", "2"]),
        month("2025_02.csv", plan=["c", "a"], joined=["03/04/2024", "01/02/2024"], size=["1.5", "2"]),
    ]
    found = propose(files, "mine", tmp_path / "data")
    columns = found.attributes["schema"]["columns"]
    assert columns["plan"]["allowed"] == ["a", "b", "c"]
    assert columns["joined"] == {"type": "date", "format": "%d/%m/%Y"}
    assert columns["size"] == {"type": "number", "min": 0}
    assert found.attributes["source"]["path"] == f"{tmp_path}/{{year}}_{{number}}.csv"
    assert_runs(found)


def test_a_column_that_some_months_lack_is_optional(tmp_path: Path) -> None:
    files = [written(tmp_path, "2025-01.csv"), written(tmp_path, "2025-02.csv", plan=["a", "b"] * (ROWS // 2))]
    found = propose(files, "mine", tmp_path)
    assert found.attributes["schema"]["columns"]["plan"]["optional"] is True
    assert_runs(found)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a.csv", "b.csv"), r"a\.csv, b\.csv: expected one month, such as 2025-01, in the name of each"),
        (("2025-01-31.csv", "2025-02-28.csv"), "expected one month"),
        (("crm_2025-01.csv", "web_2025-02.csv"), "expected names that differ in the month alone"),
        (("a/2025-01.csv", "b/2025-01.csv"), "expected names that differ in the month alone"),
    ],
)
def test_several_files_must_tell_their_months(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        propose([written(tmp_path, n) for n in names], "mine", tmp_path / "data")


def test_customers_of_several_months_need_a_key(tmp_path: Path) -> None:
    files = [written(tmp_path, f"2025-0{i}.csv", customer_id=None) for i in (1, 2)]
    with pytest.raises(SpecError, match=r"expected a column that names the customer, .* --key COLUMN\."):
        propose(files, "mine", tmp_path)


def test_a_static_table_takes_the_month_of_its_name_or_the_given_one(tmp_path: Path) -> None:
    named = propose([written(tmp_path, "crm_2024-11.csv")], "mine", tmp_path).attributes["months"]
    assert named == {"start": "2024-11", "end": "2024-11"}
    given = propose([written(tmp_path)], "mine", tmp_path, month=Month.parse("2023-05")).attributes["months"]
    assert given == {"start": "2023-05", "end": "2023-05"}


def test_a_file_that_is_missing_empty_or_teaches_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"expected a file, found nothing"):
        propose([tmp_path / "none.csv"], "mine", tmp_path)
    with pytest.raises(SourceError, match="expected rows to tell the columns' types from, found none"):
        propose([written(tmp_path, customer_id=[], calls=[], churned=[])], "mine", tmp_path) if False else _empty(
            tmp_path
        )
    with pytest.raises(SpecError, match="expected columns to learn from, found none beside 'churned'"):
        proposed(tmp_path, calls=None)


def _empty(folder: Path) -> Proposal:
    (folder / "empty.csv").write_text("customer_id,churned\n")
    return propose([folder / "empty.csv"], "mine", folder)


def test_rates_that_the_usual_limits_would_stop_are_allowed_for(tmp_path: Path) -> None:
    often = _renamed(tmp_path, "churn", ["yes", "yes", "no"] * (ROWS // 3))
    assert often.attributes["label"] == {"kind": "same_row", "max_rate": 0.9}
    never = _renamed(tmp_path, "churn", ["no"] * ROWS)
    assert never.attributes["label"] == {"kind": "same_row", "min_rate": 0}


def test_typed_files_are_proposed_for_by_the_same_readers(tmp_path: Path) -> None:
    file = tmp_path / "customers.parquet"
    pl.DataFrame({
        "customer_id": range(ROWS), "seen": pl.Series([i * 86_400_000_000 + 5 for i in range(ROWS)]).cast(pl.Datetime),
        "vip": [True, False] * 30, "share": [0.5, float("nan")] * 30, "tags": [["a"], []] * 30,
        "left": [i % 3 == 0 for i in range(ROWS)],
    }).write_parquet(file)  # fmt: skip
    found = propose([file], "mine", tmp_path)
    assert found.attributes["schema"]["columns"] == {
        "seen": {"type": "date", "format": "%Y-%m-%d %H:%M:%S"}, "vip": {"type": "boolean"},

        "share": {"type": "number", "min": 0, "nullable": True, "missing": ["NaN"]},
        "tags": {"type": "string", "role": "ignored"},
        "left": {"type": "boolean", "role": "churned"},
    }  # fmt: skip
    assert_runs(found)


def test_texts_that_yaml_or_templates_would_take_for_their_own_do_no_harm(tmp_path: Path) -> None:
    odd = ["{{ env.HOME }}", "a: b", "# no", "null\u2028x", "'", "on"]
    found = proposed(tmp_path, **{"on": odd * 10, "1": ["1", "2"] * 30, "x\u2028: {": FLAG[::-1], "{{ x }}": FLAG})
    assert found.attributes["schema"]["columns"]["on"] == {"type": "string"}
    assert found.left_out == ("{{ x }}",)
    assert_runs(found)


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    found = propose([written(tmp_path, "a\u2028b: #\x07c.csv")], "mine", tmp_path)
    assert PipelineSpec.model_validate(yaml.safe_load(as_yaml(found))["attributes"]) == found.spec


def test_the_telco_table(shared_data: Path) -> None:
    found = propose([shared_data / "telco.csv"], "telco", Path("/nowhere"))
    columns = found.attributes["schema"]["columns"]
    assert found.key.name == "customerID"
    assert columns["SeniorCitizen"] == {"type": "boolean"}
    assert columns["Contract"] == {"type": "category", "allowed": ["Month-to-month", "One year", "Two year"]}
    assert columns["TotalCharges"] == {"type": "number", "min": 0, "nullable": True}
    assert columns["Churn"] == {"type": "boolean", "role": "churned"}
    assert found.attributes["value"]["monthly_value"] == "MonthlyCharges"
    assert "fill_where: {tenure: 0}" in comments(found)
    assert len(found.attributes["features"][0]["columns"]) == 19
    assert_runs(found)


def test_the_iranian_table(shared_data: Path) -> None:
    found = propose([shared_data / "iranian_churn.csv"], "iranian", Path("/nowhere"))
    schema = found.attributes["schema"]
    assert (schema["key"], schema["key_from"], schema["max_error_rate"]) == ("customer", "content", 0.1)
    assert schema["columns"]["call_failure"] == {"type": "integer", "min": 0}
    assert "300 of 3,150 rows of iranian_churn.csv (9.5%) go to quarantine: they equal another row" in comments(found)
    assert "{type: category, allowed: [1, 2]}" in comments(found)
    assert_runs(found)


KINDS: dict[str, st.SearchStrategy[str]] = {
    "integer": st.integers(-(10**6), 10**6).map(str),
    "number": st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: f"{x:.3f}"),
    "grouped": st.integers(0, 10**6).map(lambda x: f"{x:,}"),
    "comma": st.decimals(0, 10**5, places=2).map(lambda x: f"{x}".replace(".", ",")),
    "priced": st.decimals(0, 10**5, places=2).map(lambda x: f"{x} EUR"),
    "boolean": st.sampled_from(["yes", "no"]),
    "digits": st.sampled_from(["0", "1"]),
    "category": st.sampled_from(["basic", "Plus", "plus", "premium ", "No"]),
    "date": st.dates().map(str),
    "european": st.dates().map(lambda d: f"{d:%d.%m.%Y}"),
    "slashed": st.dates().map(lambda d: f"{d:%m/%d/%Y}"),
    "code": st.integers(0, 99999).map(lambda x: f"{x:05d}"),
    "text": st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
    "mixed": st.sampled_from(
        ["1", "1.5", "1,5", "1,234", "x", "2024-01-02", "03/04/2024", "1e5", "inf", "-0", "1E+12"]
    ),
}
BLANK = st.sampled_from(["", " ", "?", "NA", "n/a", "None", "-"])
NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=0x17F), min_size=1, max_size=9)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[str]]:
    rows = draw(st.integers(2, 40))
    names = draw(st.lists(NAMES, max_size=4, unique_by=lambda n: n.strip().casefold()))
    table: dict[str, list[str]] = {"calls": [str(i % 5) for i in range(rows)]}
    for name in names:
        kind = KINDS[draw(st.sampled_from(sorted(KINDS)))]
        value = st.one_of(kind, kind, kind, BLANK) if draw(st.booleans()) else kind
        if name.strip() and name.strip().casefold() not in ("calls", "id", "churned", *PLACE):
            table[name] = draw(st.lists(value, min_size=rows, max_size=rows))
    if draw(st.booleans()):
        table["id"] = [f"c{i}" for i in range(rows)]
    return {**table, "churned": draw(st.lists(st.sampled_from(["yes", "no"]), min_size=rows, max_size=rows))}


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables())
def test_whatever_the_table_the_proposal_takes_all_its_rows_or_says_why_not(
    tmp_path: Path, table: dict[str, list[str]]
) -> None:
    file = tmp_path / "t.csv"
    pl.DataFrame(table).write_csv(file, quote_style="always")
    found = propose([file], "mine", tmp_path, churned="churned")
    spec = PipelineSpec.model_validate(yaml.safe_load(as_yaml(found))["attributes"])
    assert spec == found.spec
    (delivery,) = found.looked.deliveries
    if found.questions:
        with pytest.raises(Exception, match=r"Set (decimal|unit)"):
            validate(delivery.rows, spec.schema_)
        return
    result = validate(delivery.rows, spec.schema_)
    assert result.verdict.passed
    assert len(result.valid) + result.verdict.quarantined == len(table["churned"])
    if result.verdict.quarantined:
        assert f"{result.verdict.quarantined:,} of {len(table['churned']):,} rows" in comments(found)
        explained = {"repeated"} if found.key.received is None else set()
        explained |= {"type"} if "can't be read" in comments(found) else set()
        assert set(result.quarantined["rule"]) <= explained


def test_of_several_sheets_the_named_one_is_read(tmp_path: Path) -> None:
    table = pl.read_csv(written(tmp_path))
    file = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(file) as book:
        pl.DataFrame({"note": ["seen by hand"]}).write_excel(book, "Notes")
        table.write_excel(book, "Customers")
    with pytest.raises(SourceError, match=r"'Notes', 'Customers'.*--sheet"):
        propose([file], "mine", tmp_path)
    found = propose([file], "mine", tmp_path, sheet="Customers")
    assert found.attributes["source"]["sheet"] == "Customers"
    assert_runs(found)
