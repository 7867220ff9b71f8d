"""Why a customer has a probability and a place, told from a real installation's records."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from churn_assets.errors import ChurnAssetsError, MissingMonth
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.why import CustomerWhy, why_customer
from churn_assets_tests.installation import Installation, small_spec

pytestmark = pytest.mark.e2e

NEWEST, BEFORE = Month.parse("2024-05"), Month.parse("2024-04")


def table(pipeline: Pipeline, name: str, month: Month) -> pl.DataFrame:
    record = pipeline.lake.record(name, month)
    assert record is not None and record.files
    return pipeline.lake.scan_record(record).collect()


@pytest.fixture(scope="module")
def pipeline(finished: Installation) -> Pipeline:
    return finished.pipeline()


def add_up(found: CustomerWhy) -> None:
    score = found.score
    assert score is not None and score.exact
    assert score.log_odds == pytest.approx(math.log(score.p_leave / (1 - score.p_leave)))
    assert score.base_log_odds + sum(p.log_odds for p in score.parts) == pytest.approx(score.log_odds, abs=1e-5)
    assert score.parts[-1].p_after == pytest.approx(score.p_leave, abs=1e-6)
    assert all(sum(f.log_odds for f in p.features) == pytest.approx(p.log_odds) for p in score.parts)
    sizes = [abs(p.log_odds) for p in score.parts]
    assert all(a >= b - 1e-6 for a, b in pairwise(sizes))


def test_the_parts_add_up_to_the_recorded_probability(pipeline: Pipeline) -> None:
    scores = table(pipeline, "predictions", NEWEST).sort("p_leave")
    for row in scores[[0, len(scores) // 2, -1]].iter_rows(named=True):
        found = why_customer(pipeline, row["customer_id"], NEWEST)
        add_up(found)
        assert found.score and found.score.p_leave == row["p_leave"] and found.score.model == row["model_id"]
        assert {f.feature for p in found.score.parts for f in p.features} == set(pipeline.spec.feature_names)


def test_a_listed_customer_has_the_lists_rank_value_and_reasons(pipeline: Pipeline) -> None:
    listed = table(pipeline, "retention_list", NEWEST)
    for row in listed.head(3).iter_rows(named=True):
        found = why_customer(pipeline, row["customer_id"])
        assert found.month == "2024-05", "the newest scored month is meant if none is given"
        place, terms = found.place, found.place.terms if found.place else {}
        assert place and (place.action, place.rank) == (row["action"], row["rank"])
        value = math.prod(terms[n] for n in ("P(leave)", "save rate", "monthly value", "margin", "months"))
        assert place.expected_value == pytest.approx(row["expected_value"])
        assert value - terms["cost"] == pytest.approx(row["expected_value"])
        assert "On the list" in place.reason
        raising = [p for p in found.score.parts if p.log_odds > 1e-6] if found.score else []
        assert raising[0].features[0].words == row["reason_1"]


def test_held_out_is_said(pipeline: Pipeline) -> None:
    held = table(pipeline, "retention_list", NEWEST).filter(action="hold out")
    place = why_customer(pipeline, held["customer_id"][0], NEWEST).place
    assert place and place.action == "hold out" and "drawn by lot" in place.reason


def test_a_customer_below_the_line_is_told_where_the_line_is(pipeline: Pipeline) -> None:
    listed = table(pipeline, "retention_list", NEWEST)
    others = table(pipeline, "predictions", NEWEST).join(listed, on="customer_id", how="anti").sort("p_leave")
    least = why_customer(pipeline, others["customer_id"][0], NEWEST).place
    assert least and least.action == "none" and least.rank > (least.last_rank or 0) == listed["rank"].max()
    assert least.expected_value <= 0 and "no more than it costs" in least.reason


def test_where_the_list_ends_is_told_as_it_was_decided(own: Installation) -> None:
    customers = ranked(own.pipeline())
    before = why_customer(own.pipeline(), customers[0], NEWEST).place
    own.declare("churn", small_spec(value={"budget": 40, "holdout_share": 0}))
    still = why_customer(own.pipeline(), customers[0], NEWEST).place
    assert still and before and still.reason == before.reason and "below rank" in still.reason
    assert all(r.success for r in own.run(["2024-05"], stages=["retention_list"]))
    reasons = [why_customer(own.pipeline(), customer, NEWEST).place for customer in customers[4:6]]
    assert [place.reason for place in reasons if place] == [
        "On the list: rank 5, and the budget of 40 USD reaches down to rank 5.",
        "Not on the list: the budget of 40 USD reaches down to rank 5, and this customer has rank 6.",
    ]


def ranked(pipeline: Pipeline) -> list[str]:
    return table(pipeline, "retention_list", NEWEST).sort("rank")["customer_id"].to_list()


def test_what_happened_afterwards_is_told_once_it_is_known(pipeline: Pipeline) -> None:
    later = table(pipeline, "validated_data", NEWEST)
    scored = table(pipeline, "predictions", BEFORE).join(later, on="customer_id")
    left, stayed = scored.filter("churned")["customer_id"][0], scored.filter(~pl.col("churned"))["customer_id"][0]
    outcomes = [why_customer(pipeline, c, m).outcome for c, m in ((left, BEFORE), (stayed, BEFORE), (stayed, NEWEST))]
    assert [o.left if o else "" for o in outcomes] == [True, False, None]
    assert [o.sentence if o else "" for o in outcomes] == [
        "Left in 2024-05.", "Stayed: 2024-05 says so.", "Not known yet: 2024-06 isn't there.",
    ]  # fmt: skip
    gone = why_customer(pipeline, left, NEWEST)
    assert gone.score is None and gone.absent.startswith("Left in 2024-05 already")


def test_values_are_the_months_and_say_where_they_come_from(pipeline: Pipeline) -> None:
    row = table(pipeline, "features", NEWEST).row(7, named=True)
    found = why_customer(pipeline, row["customer_id"], NEWEST)
    assert {v.feature: v.value for v in found.values} == {n: row[n] for n in pipeline.spec.feature_names}
    (mean,) = (v for v in found.values if v.feature == "data_gb_mean_4m")
    assert (mean.window, mean.made_of) == ("m-3 to m", ("validated_data.data_gb",))


def test_an_unknown_customer_or_month_is_named(pipeline: Pipeline) -> None:
    with pytest.raises(ChurnAssetsError, match="'nobody': expected one that was delivered up to 2024-05, found none"):
        why_customer(pipeline, "nobody", NEWEST)
    with pytest.raises(MissingMonth, match="predictions 2024-06: expected scored customers, found the month was never"):
        why_customer(pipeline, "nobody", Month.parse("2024-06"))
    with pytest.raises(ChurnAssetsError, match=r"predictions 2024-01: .*The decision of 2024-01, undecided: "):
        why_customer(pipeline, "nobody", Month.parse("2024-01"))


def test_who_isnt_there_was_quarantined_or_not_delivered_or_comes_later(own_files: Installation) -> None:
    rows = pl.read_csv(own_files.home / "data/incoming/2024-04.csv")
    there = rows.filter(~pl.col("churned"))["customer_id"].to_list()
    broken, absent = there[0], there[1]
    changed: dict[str, Any] = {"monthly_charge": pl.when(customer_id=broken).then(-5.0).otherwise("monthly_charge")}
    own_files.deliver("2024-04", rows.with_columns(**changed).filter(pl.col("customer_id") != absent))
    assert all(r.success for r in own_files.run(["2024-04"]))
    pipeline = own_files.pipeline()
    told = why_customer(pipeline, broken, BEFORE).absent
    assert "monthly_charge broke the rule" in told and "found '-5.0'" in told and "2024-04.csv:" in told
    assert why_customer(pipeline, absent, BEFORE).absent == (
        "Not delivered in 2024-04: the newest row before it is of 2024-03."
    )
    new = rows.join(own_files.received("2024-03"), on="customer_id", how="anti")["customer_id"][0]
    assert why_customer(pipeline, new, Month.parse("2024-03")).absent == (
        "Not delivered in 2024-03 yet: the first row is of 2024-04."
    )
