from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import Delivery, open_source
from churn_assets.sources.joined import JoinedSource
from churn_assets.spec import PLACE, JoinedSourceSpec
from churn_assets_tests.declared import declared

JAN = Month(2024, 1)


@dataclass
class Held:
    """A source whose rows are held in memory, handed out in small batches."""

    rows: pa.Table
    version: str | None = "v1"
    doubts: list[str] = field(default_factory=list)
    batch: int = 3
    accepted: int = 0

    def identity(self, month: Month) -> str | None:
        return self.version

    def read(self, month: Month) -> Delivery:
        provenance: dict[str, Any] = {"kind": "held"}
        doubts: list[str] = []

        def batches() -> Any:
            yield from self.rows.to_batches(max_chunksize=self.batch)
            # As with a file: what was read is known once it was read.
            provenance["rows"] = len(self.rows)
            doubts.extend(self.doubts)

        reader = pa.RecordBatchReader.from_batches(self.rows.schema, batches())
        return Delivery(reader, provenance, doubts, self.accept)

    def accept(self) -> None:
        self.accepted += 1


Columns = dict[str, Sequence[Any]]


def held(columns: Columns | pl.DataFrame, **more: Any) -> Held:
    return Held(pl.DataFrame(columns, strict=False).to_arrow(), **more)


def joined(given: dict[str, dict[str, str]] | None = None, key: str = "id", **tables: Columns | Held) -> JoinedSource:
    sources = {name: table if isinstance(table, Held) else held(table) for name, table in tables.items()}
    unused = {"type": "file", "path": "unused"}
    spec = {name: {"source": unused, **(given or {}).get(name, {})} for name in tables}
    return JoinedSource(JoinedSourceSpec.model_validate({"type": "joined", "tables": spec}), sources, key)


def read(source: JoinedSource) -> tuple[pl.DataFrame, Delivery]:
    delivery = source.read(JAN)
    return pl.DataFrame(pl.from_arrow(delivery.batches.read_all())), delivery


def rows(source: JoinedSource) -> list[dict[str, Any]]:
    return read(source)[0].rows(named=True)


def test_the_other_tables_add_their_columns_to_the_customers_of_the_first() -> None:
    found = rows(joined(
        members={"id": ["c2", "c1", "c3"], "plan": ["a", "b", "c"]},
        usage={"id": ["c1", "c2"], "calls": [1, 2]},
        bills={"total": [9.5], "id": ["c3"]},
    ))  # fmt: skip
    assert found == [
        {"id": "c2", "plan": "a", "calls": 2, "total": None},
        {"id": "c1", "plan": "b", "calls": 1, "total": None},
        {"id": "c3", "plan": "c", "calls": None, "total": 9.5},
    ]


@pytest.mark.parametrize(
    ("base", "added", "meet"),
    [
        ("7", 7, True), (7, 7.0, True), (" 7 ", 7, True), ("7", Decimal("7.00"), True), (7, "\t7\n", True),
        ("007", 7, False), ("7.0", 7, False), ("a", "A", False), (7.5, "7.5", True), (True, "true", True),
        (2**53 - 1, float(2**53 - 1), True), (float("nan"), "NaN", False), ("", " ", False), (None, None, False),
    ],
)  # fmt: skip
def test_customers_meet_by_their_trimmed_text(base: Any, added: Any, meet: bool) -> None:
    found = rows(joined(members={"id": [base]}, usage={"id": [added], "calls": [1]}))
    assert [row["calls"] for row in found] == [1 if meet else None]


def test_the_base_is_handed_on_as_it_was_received() -> None:
    table = pa.table({
        "id": pa.array(["c1", "c2"]).dictionary_encode(),
        "at": pa.array([0, 1], pa.timestamp("ms", tz="Europe/Berlin")),
        "many": pa.array([[1], None], pa.list_(pa.int16())),
        "_file": pa.array(["a.csv", "b.csv"]),
        "_line": pa.array([2, 2], pa.int64()),
    })  # fmt: skip
    delivery = joined(members=Held(table), usage={"id": ["c2"], "calls": [1]}).read(JAN)
    assert delivery.batches.read_all().drop_columns(["calls"]).equals(table)


def test_places_and_keys_of_added_tables_are_dropped() -> None:
    base = {"id": ["c1"], "_file": ["m.csv"], "_line": [7]}
    added = {"customer": ["c1"], "calls": [3], "_file": ["u.csv"], "_line": [99], "_defect": [None], "_text": [None]}
    source = joined({"usage": {"key": "customer"}}, members=base, usage=added)
    assert rows(source) == [{"id": "c1", "_file": "m.csv", "_line": 7, "calls": 3}]


def test_a_prefix_is_put_before_the_names() -> None:
    source = joined({"usage": {"prefix": "u_"}}, members={"id": ["c1"], "x": [1]}, usage={"id": ["c1"], "x": [2]})
    assert rows(source) == [{"id": "c1", "x": 1, "u_x": 2}]


@pytest.mark.parametrize("name", ["plan", "Plan", "PLAN"])
def test_two_tables_with_a_column_of_one_name_are_refused(name: str) -> None:
    with pytest.raises(SourceError) as error:
        joined(members={"id": ["c1"], "plan": ["a"]}, usage={"id": ["c1"], name: ["b"]}).read(JAN)
    assert str(error.value) == (
        f"usage, column {name!r}: expected a name of its own, found 'plan' in members too. Set tables.usage.prefix, "
        "such as 'usage_'. Nothing was ingested."
    )


def test_equal_rows_of_a_customer_count_once() -> None:
    usage = {"id": ["c1", "c1 ", "c1"], "calls": [3, 3, 3], "_line": [2, 3, 4]}
    found, delivery = read(joined(members={"id": ["c1", "c2"]}, usage=usage))
    assert found.rows(named=True) == [{"id": "c1", "calls": 3}, {"id": "c2", "calls": None}]
    assert delivery.provenance["joined"]["usage"]["differing"] == 0


def test_differing_rows_of_a_customer_leave_a_defect_and_no_value() -> None:
    found, delivery = read(joined(
        members={"id": ["c1", "c2"], "plan": ["a", "b"], "_file": ["m.csv"] * 2},
        usage={"id": ["c1", "c2", "c1", "c1"], "calls": [1, 5, 2, 2]},
        bills={"id": ["c1", "c1", "c2"], "total": [1, 2, 3]},
    ))  # fmt: skip
    bad, good = found.rows(named=True)
    assert good == {
        "id": "c2", "plan": "b", "_file": "m.csv", "calls": 5, "total": 3, "_defect": None, "_text": None,
    }  # fmt: skip
    assert bad["_defect"] == "usage: 2 differing rows for this customer; bills: 2 differing rows for this customer"
    assert json.loads(bad["_text"]) == {"id": "c1", "plan": "a"}
    assert (bad["id"], bad["plan"], bad["calls"], bad["total"], bad["_file"]) == (None, None, None, None, "m.csv")
    assert "usage: 1 customers have differing rows there; none of them was picked." in delivery.doubts


def test_a_defect_of_the_base_stays_as_it_is() -> None:
    base = {"id": [None, "c1", "c2"], "_defect": ["3 fields", None, None], "_text": ["x,y,z", None, None]}
    found = rows(joined(members=base, usage={"id": ["c1", "c1", "c2"], "calls": [1, 2, 3]}))
    assert [row["_defect"] for row in found] == ["3 fields", "usage: 2 differing rows for this customer", None]
    assert [row["_text"] for row in found] == ["x,y,z", '{"id":"c1"}', None]
    assert [row["calls"] for row in found] == [None, None, 3]


def test_a_defective_row_of_the_base_is_matched_with_nothing() -> None:
    base = {"id": ["c1"], "_defect": ["cut off"], "_text": ["c1"]}
    assert rows(joined(members=base, usage={"id": ["c1"], "calls": [1]}))[0]["calls"] is None


def test_partners_and_orphans_are_counted_and_doubted() -> None:
    members = {"id": ["c1", "c2", None, "c4"]}
    usage = {
        "id": ["c1", "c1", "c9", None, "c8", "broken"], "calls": [1, 1, 2, 3, 4, None],
        "_defect": [None] * 5 + ["1 field"], "_text": [None] * 5 + ["broken"],
    }  # fmt: skip
    _, delivery = read(joined(members=members, usage=held(usage, doubts=["the encoding was guessed."])))
    assert delivery.provenance == {
        "kind": "joined",
        "tables": {"members": {"kind": "held", "rows": 4}, "usage": {"kind": "held", "rows": 6}},
        "rows": 4,
        "joined": {
            "usage": {
                "matched": 1, "unmatched": 3, "rows": 6, "customers": 3, "orphans": 3, "defects": 1, "differing": 0,
                "columns": ["calls"],
            }
        },
        "columns": ["id", "calls"],
    }  # fmt: skip
    assert delivery.doubts == [
        "usage: the encoding was guessed.",
        "usage: 3 of 6 (50.0%) rows have a customer that members doesn't have.",
        "usage: 3 of 4 (75.0%) rows of members have no row there.",
        "usage: 1 of 6 (16.7%) rows weren't matched; one: 1 field",
    ]


def test_what_is_missing_in_one_row_of_a_hundred_is_no_doubt() -> None:
    many = [str(i) for i in range(100)]
    _, delivery = read(joined(members={"id": many}, usage={"id": [*many[1:], "x"], "calls": list(range(100))}))
    assert delivery.doubts == []
    assert delivery.provenance["joined"]["usage"]["orphans"] == 1


def test_an_empty_month_is_a_month() -> None:
    found, delivery = read(joined(members={"id": pl.Series([], dtype=pl.String)}, usage={"id": ["c1"], "calls": [1]}))
    assert found.columns == ["id", "calls"] and found.is_empty()
    assert delivery.provenance["joined"]["usage"]["orphans"] == 1
    nobody = {"id": pl.Series([], dtype=pl.String), "calls": pl.Series([], dtype=pl.Int64)}
    assert rows(joined(members={"id": ["c1"]}, usage=nobody)) == [{"id": "c1", "calls": None}]
    assert rows(joined(members={"id": ["c1"]}, usage={"id": ["c1"]})) == [{"id": "c1"}]


def test_a_key_is_found_by_its_letters_and_digits() -> None:
    source = joined(key="customer_id", members={"Customer ID": ["c1"]}, usage={"CUSTOMERID": ["c1"], "calls": [1]})
    assert rows(source) == [{"Customer ID": "c1", "calls": 1}]


def test_an_exact_name_goes_before_a_similar_one() -> None:
    source = joined(members={"ID": ["c9"], "id": ["c1"]}, usage={"id": ["c1"], "calls": [1]})
    assert rows(source)[0]["calls"] == 1


def test_a_base_that_calls_its_key_otherwise_hands_it_on_under_the_schemas_name() -> None:
    source = joined({"members": {"key": "no"}}, members={"no": ["c1"]}, usage={"id": ["c1"], "calls": [1]})
    assert rows(source) == [{"id": "c1", "calls": 1}]
    source = joined({"members": {"key": "no"}}, members={"no": ["c1"], "id": [1]}, usage={"id": ["c1"], "calls": [1]})
    with pytest.raises(SourceError, match="members: expected that its key 'no' can be called 'id'"):
        source.read(JAN)


def test_a_key_that_cannot_be_found_says_which_columns_there_are() -> None:
    with pytest.raises(SourceError) as error:
        joined(key="customer_id", members={"customer_id": ["c1"]}, usage={"custmer_id": [1], "calls": [1]}).read(JAN)
    assert str(error.value) == (
        "usage: expected one column 'customer_id' that names the customer, found none. Did you mean 'custmer_id'? "
        "Known here: calls, custmer_id. Name it as tables.usage.key. Nothing was ingested."
    )
    with pytest.raises(SourceError, match="found 'ID', 'I d'"):
        joined(members={"id": ["c1"]}, usage={"ID": ["c1"], "I d": ["c1"]}).read(JAN)


def test_a_key_that_holds_no_names_is_refused() -> None:
    with pytest.raises(SourceError, match=r"usage, column 'id': expected numbers or texts .*, found List\(Int64\)"):
        joined(members={"id": ["c1"]}, usage={"id": [[1]], "calls": [1]}).read(JAN)


def test_columns_may_have_any_name() -> None:
    names = ["^a$", "key", "at", "rows", "customer", "differing", "0", "*"]
    usage = {"id": ["c1", "c1", "c2", "c2"], **{name: [1, 1, 1, 2] for name in names}}
    found = rows(joined(members={"id": ["c1", "c2"]}, usage=usage))
    assert [found[0][name] for name in names] == [1] * len(names)
    assert [found[1][name] for name in names] == [None] * len(names)


def test_the_identity_follows_every_table_and_how_they_are_joined() -> None:
    members: Columns = {"id": ["c1"]}
    usage: Columns = {"id": ["c1"], "calls": [1]}
    first = joined(members=members, usage=usage).identity(JAN)
    assert first == joined(members=members, usage=held({"id": ["c2"]})).identity(JAN)
    others = [
        joined(members=members, usage=held(usage, version="v2")),
        joined(members=held(members, version="v2"), usage=usage),
        joined(usage=usage, members=members),
        joined({"usage": {"prefix": "u_"}}, members=members, usage=usage),
        joined({"usage": {"key": "calls"}}, members=members, usage=usage),
        joined(key="calls", members=members, usage=usage),
    ]
    assert len({first, *(other.identity(JAN) for other in others)}) == len(others) + 1
    assert joined(members=members, usage=held(usage, version=None)).identity(JAN) is None


def test_accepting_accepts_every_table() -> None:
    members, usage = held({"id": ["c1"]}), held({"id": ["c1"], "calls": [1]})
    _, delivery = read(joined(members=members, usage=usage))
    assert (members.accepted, usage.accepted) == (0, 0)
    assert delivery.accept
    delivery.accept()
    assert (members.accepted, usage.accepted) == (1, 1)


def test_a_specification_joins_a_static_table_to_monthly_files(tmp_path: Path) -> None:
    (tmp_path / "2024-01.csv").write_text("customer_id,plan\n01,basic\n2,plus\n")
    (tmp_path / "places.csv").write_text("no,city\n2,Bonn\n01,Kiel\n")
    given = {
        "type": "joined",
        "tables": {
            "members": {"source": {"type": "file", "path": "{month}.csv"}},
            "places": {"source": {"type": "file", "path": "places.csv"}, "key": "no"},
        },
    }
    delivery = open_source(declared(source=given), tmp_path).read(JAN)
    found = pl.DataFrame(pl.from_arrow(delivery.batches.read_all()))
    assert found.select("customer_id", "plan", "city").rows() == [("01", "basic", "Kiel"), ("2", "plus", "Bonn")]


def test_many_rows_in_any_order_keep_theirs() -> None:
    many = 400_000
    ids = pl.Series("id", range(many)).shuffle(seed=1)
    base = held(pl.DataFrame({"id": ids.cast(pl.String), "n": range(many)}), batch=50_000)
    usage = held(pl.DataFrame({"id": ids.shuffle(seed=2)}).with_columns(calls=pl.col("id") * 2))
    found, delivery = read(joined(members=base, usage=usage))
    assert found["n"].to_list() == list(range(many))
    assert (found["calls"] == ids * 2).all()
    assert delivery.provenance["joined"]["usage"]["matched"] == many


KEYS = st.one_of(st.none(), st.sampled_from(["a", " a", "b", "7", "07", "", "c"]))
NUMBERS = st.one_of(st.none(), st.integers(0, 2))


@st.composite
def added(draw: st.DrawFn) -> pl.DataFrame:
    keys = draw(st.lists(st.one_of(st.integers(5, 8), st.none()) if draw(st.booleans()) else KEYS, max_size=8))
    dtype = pl.Int64 if any(isinstance(k, int) for k in keys) else pl.String
    return pl.DataFrame({
        "id": pl.Series(keys, dtype=dtype),
        **{
            name: pl.Series(draw(st.lists(NUMBERS, min_size=len(keys), max_size=len(keys))), dtype=pl.Int64)
            for name in draw(st.sets(st.sampled_from(["x", "y", "key"])))
        },
        "_defect": pl.Series([draw(st.sampled_from([None, None, "bad"])) for _ in keys], dtype=pl.String),
    })  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(keys=st.lists(KEYS, max_size=9), first=added(), second=added(), size=st.integers(1, 4))
def test_whatever_is_added_the_base_keeps_its_rows_in_their_order(
    keys: list[str | None], first: pl.DataFrame, second: pl.DataFrame, size: int
) -> None:
    base = pl.DataFrame({"id": pl.Series(keys, dtype=pl.String), "n": range(len(keys)), "_line": range(len(keys))})
    given = {"one": {"prefix": "1_"}, "two": {"prefix": "2_"}}
    tables = {"base": Held(base.to_arrow(), batch=size), "one": Held(first.to_arrow()), "two": Held(second.to_arrow())}
    found, delivery = read(joined(given, **tables))
    assert found["_line"].to_list() == list(range(len(keys)))
    texts = found["_text"].to_list() if "_text" in found.columns else [None] * len(keys)
    told = [json.loads(text) if text else row for text, row in zip(texts, found.rows(named=True), strict=True)]
    assert [(t["id"], t["n"]) for t in told] == [(k, i) for i, k in enumerate(keys)]
    for prefix, frame in (("1_", first), ("2_", second)):
        _check_values(found, keys, prefix, frame)
    for name, frame in (("one", first), ("two", second)):
        counts = delivery.provenance["joined"][name]
        assert counts["matched"] + counts["unmatched"] == len(keys)
        assert counts["rows"] == len(frame)


def _check_values(found: pl.DataFrame, keys: list[str | None], prefix: str, frame: pl.DataFrame) -> None:
    """Each row has just what the proper rows of its customer say, as far as they are of one mind."""
    names = [name for name in frame.columns if name not in ("id", *PLACE)]
    said: dict[str, set[tuple[Any, ...]]] = {}
    for row in frame.filter(pl.col("_defect").is_null()).iter_rows(named=True):
        said.setdefault(str(row["id"]).strip() if row["id"] is not None else "", set()).add(
            tuple(row[name] for name in names)
        )
    defects = found["_defect"].to_list() if "_defect" in found.columns else [None] * len(keys)
    for key, row, defect in zip(keys, found.rows(named=True), defects, strict=True):
        own = said.get((key or "").strip(), set()) if (key or "").strip() else set()
        table = {"1_": "one", "2_": "two"}[prefix]
        assert (len(own) > 1) == (f"{table}: {len(own)} differing" in (defect or ""))
        expected = next(iter(own)) if len(own) == 1 and defect is None else (None,) * len(names)
        assert tuple(row[prefix + name] for name in names) == expected
