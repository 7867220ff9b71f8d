"""The simulated subscriber base: determinism, the meaning of a snapshot, calibration, and the true hazard."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn_assets.errors import SourceError, SpecError
from churn_assets.months import Month, month_range
from churn_assets.sources import simulated
from churn_assets.sources.simulated import SimulatedSource
from churn_assets.spec.scenario import BrokenColumn, CompetitorShock, NewChannel, PriceRise, Scenario, Seasonal

START = Month(2023, 1)
PANEL_CUSTOMERS = 15_000


@pytest.fixture(autouse=True)
def _no_month_is_known() -> Iterator[None]:
    simulated._RECENT.forget()
    yield
    simulated._RECENT.forget()


def snapshot(source: SimulatedSource, month: Month) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(source.read(month).batches.read_all()))


@cache
def panel(seed: int = 7, months: int = 25) -> pl.DataFrame:
    """All snapshots, with each survivor's true hazard and whether it leaves in the month after."""
    source = SimulatedSource(START, PANEL_CUSTOMERS, seed)
    frames = []
    for month in month_range(START, START + (months - 1)):
        frame = snapshot(source, month).join(source.true_hazard(month), on="customer_id", how="left")
        frames.append(frame.with_columns(at=pl.lit(month.ordinal), number=pl.lit(month.number)))
    rows = pl.concat(frames)
    following = rows.select("customer_id", at=pl.col("at") - 1, leaves="churned")
    return rows.join(following, on=["customer_id", "at"], how="left")


@cache
def survivors() -> pl.DataFrame:
    return panel().filter(pl.col("leaves").is_not_null())


def leaving_rate(which: pl.Expr) -> float:
    return float(survivors().filter(which)["leaves"].mean())  # type: ignore[arg-type]


def auc(truth: pl.Series, score: pl.Series) -> float:
    """The share of pairs (left, stayed) in which who left had the higher score."""
    ranks = score.rank("average")
    left = int(truth.sum())
    return (float(ranks.filter(truth).sum()) - left * (left + 1) / 2) / (left * (len(truth) - left))


class TestAMonthIsSettledByTheConfigurationAlone:
    def test_two_equal_sources_give_equal_rows(self) -> None:
        first = snapshot(SimulatedSource(START, 800), START + 4)
        simulated._RECENT.forget()
        assert snapshot(SimulatedSource(START, 800), START + 4).equals(first)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(order=st.lists(st.integers(0, 7), min_size=1, max_size=6), seed=st.integers(0, 3))
    def test_the_order_in_which_months_are_asked_for_changes_nothing(self, order: list[int], seed: int) -> None:
        source = SimulatedSource(START, 200, seed)
        asked = {at: snapshot(source, START + at) for at in order}
        hazards = {at: source.true_hazard(START + at) for at in order}
        for at in asked:
            simulated._RECENT.forget()
            assert snapshot(source, START + at).equals(asked[at])
            assert source.true_hazard(START + at).equals(hazards[at])

    def test_sources_that_take_turns_do_not_disturb_each_other(self) -> None:
        one, other = SimulatedSource(START, 300, seed=1), SimulatedSource(START, 300, seed=2)
        turns = [(snapshot(one, START + at), snapshot(other, START + at)) for at in range(4)]
        simulated._RECENT.forget()
        assert [snapshot(one, START + at).equals(turns[at][0]) for at in range(4)] == [True] * 4
        assert [snapshot(other, START + at).equals(turns[at][1]) for at in range(4)] == [True] * 4

    def test_another_seed_lives_another_history(self) -> None:
        assert not snapshot(SimulatedSource(START, 500, 1), START).equals(
            snapshot(SimulatedSource(START, 500, 2), START)
        )

    def test_a_new_process_gives_the_same_rows(self) -> None:
        code = (
            "from churn_assets.months import Month\n"
            "from churn_assets.sources.simulated import SimulatedSource\n"
            "import polars as pl, sys\n"
            "frame = pl.from_arrow(SimulatedSource(Month(2023, 1), 400).read(Month(2023, 6)).batches.read_all())\n"
            "assert not {'dagster', 'mlflow', 'pandas', 'sklearn'} & set(sys.modules)\n"
            "print(frame.write_csv())"
        )
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert told.strip() == snapshot(SimulatedSource(START, 400), START + 5).write_csv().strip()


class TestSnapshot:
    def test_the_first_month_has_exactly_the_customers_asked_for(self) -> None:
        assert snapshot(SimulatedSource(START, 1234), START).height == 1234

    def test_who_left_never_appears_again(self) -> None:
        last = panel().group_by("customer_id").agg(pl.col("at").max(), left=pl.col("at").filter("churned").min())
        assert last.filter(pl.col("left").is_not_null() & (pl.col("left") != pl.col("at"))).is_empty()

    def test_who_did_not_leave_is_there_in_the_next_month(self) -> None:
        before_the_last = panel().filter(~pl.col("churned") & (pl.col("at") < pl.col("at").max()))
        assert before_the_last["leaves"].null_count() == 0

    def test_rows_are_unique_and_in_the_order_of_the_customer_id(self) -> None:
        frame = snapshot(SimulatedSource(START, 3000), START + 3)
        assert frame["customer_id"].n_unique() == frame.height
        assert frame["customer_id"].is_sorted()

    def test_a_customer_number_is_never_given_twice(self) -> None:
        first = panel().group_by("customer_id").agg(pl.col("signup_month").n_unique())
        assert first["signup_month"].max() == 1

    def test_tenure_grows_by_one_a_month_and_fits_the_sign_up(self) -> None:
        month = pl.date(pl.col("at") // 12, pl.col("at") % 12 + 1, 1)
        since = (month.dt.year() - pl.col("signup_month").dt.year()) * 12
        since += month.dt.month().cast(pl.Int32) - pl.col("signup_month").dt.month().cast(pl.Int32)
        assert panel().select((pl.col("tenure_months") == since + 1).all()).item()

    def test_nobody_leaves_in_the_month_of_joining(self) -> None:
        assert not panel().filter(pl.col("tenure_months") == 1)["churned"].any()

    def test_null_means_that_there_is_no_such_thing(self) -> None:
        nulls = panel().drop("leaves", "hazard").null_count().row(0, named=True)
        assert {name for name, count in nulls.items() if count} == {"data_gb", "contract_months_left"}
        assert panel().select(((pl.col("internet") == "none") == pl.col("data_gb").is_null()).all()).item()
        uncommitted = pl.col("contract") == "month-to-month"
        assert panel().select((uncommitted == pl.col("contract_months_left").is_null()).all()).item()

    def test_values_lie_in_their_ranges(self) -> None:
        rows = panel()
        assert rows["monthly_charge"].min() > 10  # type: ignore[operator]
        assert rows["monthly_charge"].max() < 250  # type: ignore[operator]
        assert rows.select((pl.col("data_gb") >= 0).all() & (pl.col("call_minutes") >= 0).all()).item()
        assert rows.select(pl.col("contract_months_left").is_between(0, 23).all()).item()
        assert rows.select(pl.col("add_ons").is_between(0, 5).all()).item()
        assert rows.select((pl.col("online_security") & (pl.col("internet") == "none")).any()).item() is False
        assert rows.select(pl.col("hazard").is_between(0, 1).all()).item()

    def test_price_change_is_the_difference_to_the_month_before(self) -> None:
        rows = panel().sort("customer_id", "at")
        moved = pl.col("monthly_charge") - pl.col("monthly_charge").shift(1).over("customer_id")
        assert rows.select((moved - pl.col("price_change")).abs().max()).item() < 1e-6

    def test_the_base_stays_about_as_large_as_it_was(self) -> None:
        sizes = panel().group_by("at").len().sort("at")["len"]
        assert sizes.min() / PANEL_CUSTOMERS > 0.97  # type: ignore[operator]
        assert sizes.max() / PANEL_CUSTOMERS < 1.15  # type: ignore[operator]

    def test_provenance_tells_where_the_rows_come_from(self) -> None:
        source = SimulatedSource(START, 300, scenario=(PriceRise(month=START + 1),))
        told = source.read(START + 1).provenance
        assert told["kind"] == "simulated"
        assert (told["customers"], told["seed"]) == (300, 7)
        assert told["scenario"] == [{"kind": "price_rise", "month": "2023-02", "percent": 10.0}]
        assert told["rows"] == snapshot(source, START + 1).height

    @pytest.mark.parametrize("customers", [1, 2, 5])
    def test_a_handful_of_customers_is_enough(self, customers: int) -> None:
        source = SimulatedSource(START, customers)
        seen = [snapshot(source, month) for month in month_range(START, START + 60)]
        joined = pl.concat(seen).group_by("customer_id").agg(pl.col("signup_month").n_unique())
        assert joined.filter(pl.col("signup_month") != 1).is_empty()


class TestIdentity:
    def test_it_is_stable_and_needs_no_simulation(self) -> None:
        far = SimulatedSource(START, 1_000_000).identity(START + 200)
        assert far == SimulatedSource(START, 1_000_000).identity(START + 200)
        assert len(far) == 64

    def test_it_changes_with_the_month_and_every_setting(self) -> None:
        sources = [
            SimulatedSource(START),
            SimulatedSource(START, seed=8),
            SimulatedSource(START, customers=7001),
            SimulatedSource(START, scenario=(Seasonal(),)),
            SimulatedSource(START, scenario=(PriceRise(month=START + 1),)),
            SimulatedSource(START, scenario=(PriceRise(month=START + 1, percent=5),)),
            SimulatedSource(START + 1),
        ]
        told = [source.identity(START + at) for source in sources for at in (1, 2)]
        assert len(set(told)) == len(told)

    def test_scenarios_that_leave_a_month_as_it_is_leave_its_identity(self) -> None:
        calm = SimulatedSource(START)
        broken = SimulatedSource(START, scenario=(BrokenColumn(month=START + 3, until=START + 4),))
        same = [calm.identity(START + at) == broken.identity(START + at) for at in range(7)]
        assert same == [True, True, True, False, False, True, True]

    def test_it_changes_with_the_version_of_the_simulator(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = SimulatedSource(START).identity(START)
        monkeypatch.setattr(simulated, "VERSION", "next")
        assert SimulatedSource(START).identity(START) != before


class TestRefusals:
    def test_a_month_before_the_first_one_is_refused_with_what_to_do(self) -> None:
        source = SimulatedSource(START, 100)
        for ask in (source.read, source.identity, source.true_hazard):
            with pytest.raises(SourceError, match=r"from 2023-01 on.*found 2022-12.*set the source's start"):
                ask(START + -1)

    @pytest.mark.parametrize(("customers", "seed"), [(0, 7), (10, -1)])
    def test_an_impossible_configuration_is_refused(self, customers: int, seed: int) -> None:
        with pytest.raises(SpecError, match="simulated source"):
            SimulatedSource(START, customers, seed)

    def test_an_incident_with_no_month_before_it_is_refused(self) -> None:
        with pytest.raises(SpecError, match="price_rise to begin after the first month, 2023-01; found 2023-01"):
            SimulatedSource(START, scenario=(Seasonal(), PriceRise(month=START)))


class TestCalibration:
    def test_about_three_in_a_hundred_leave_a_month(self) -> None:
        monthly = panel().group_by("at").agg(pl.col("churned").mean()).sort("at")["churned"]
        assert 0.025 < monthly[:24].mean() < 0.035  # type: ignore[operator]

    def test_the_first_months_are_not_special(self) -> None:
        monthly = panel().filter(pl.col("number") <= 6).group_by("at").agg(pl.col("churned").mean()).sort("at")
        first, second = monthly["churned"][:6].mean(), monthly["churned"][6:].mean()
        assert 0.87 < first / second < 1.15  # type: ignore[operator]

    def test_more_leave_in_december_than_in_november(self) -> None:
        rates: dict[int, list[float]] = {11: [], 12: []}
        for seed in range(3):
            source = SimulatedSource(Month(2023, 11), 12_000, seed)
            for month in (Month(2023, 11), Month(2023, 12)):
                rates[month.number].append(snapshot(source, month)["churned"].mean())  # type: ignore[arg-type]
        assert sum(rates[12]) > 1.05 * sum(rates[11])

    def test_five_to_six_in_a_hundred_leave_in_a_shock_month(self) -> None:
        shock = CompetitorShock(month=START + 5)
        shocked = [
            snapshot(SimulatedSource(START, 10_000, seed, scenario=(shock,)), START + 5)["churned"].mean()
            for seed in range(3)
        ]
        assert 0.05 < sum(shocked) / 3 < 0.06  # type: ignore[arg-type]

    def test_a_contract_binds_and_its_end_is_a_decision(self) -> None:
        rates = [leaving_rate(pl.col("contract") == name) for name in simulated.CONTRACTS]
        assert rates[0] > 1.7 * rates[1] > 1.7 * 2.0 * rates[2]
        ending, first = pl.col("contract_months_left") == 0, pl.col("renewals") == 0
        assert 0.08 < leaving_rate(ending & first) < 0.15
        assert leaving_rate(ending & first) > 1.5 * leaving_rate(ending & ~first)
        assert leaving_rate(ending & ~first) > 2 * leaving_rate(pl.col("contract_months_left") > 0)

    def test_the_hazard_without_a_contract_falls_with_tenure(self) -> None:
        free, tenure = pl.col("contract") == "month-to-month", pl.col("tenure_months")
        bands = [tenure == 1, tenure.is_between(2, 4), tenure.is_between(5, 12), tenure > 24]
        rates = [leaving_rate(free & band) for band in bands]
        assert rates == sorted(rates, reverse=True)
        assert 4.0 < rates[0] / rates[3] < 11.0

    def test_four_calls_quadruple_and_a_complaint_multiplies_by_eight(self) -> None:
        many = pl.col("support_calls") >= 4
        assert 3.0 < leaving_rate(many) / leaving_rate(~many) < 5.2
        assert 6.0 < leaving_rate(pl.col("complaints") > 0) / leaving_rate(pl.col("complaints") == 0) < 10.5

    def test_halved_usage_more_than_doubles_it(self) -> None:
        earlier = panel().select("customer_id", at=pl.col("at") + 3, was=pl.coalesce("data_gb", "call_minutes"))
        rows = survivors().join(earlier, on=["customer_id", "at"])
        halved = pl.coalesce("data_gb", "call_minutes") <= 0.5 * pl.col("was")
        rate = rows.group_by(halved=halved).agg(pl.col("leaves").mean()).sort("halved")["leaves"]
        assert 2.2 < rate[1] / rate[0] < 4.2

    def test_fibre_electronic_check_and_no_security_go_with_leaving(self) -> None:
        assert leaving_rate(pl.col("internet") == "fiber") > 1.7 * leaving_rate(pl.col("internet") == "dsl")
        assert leaving_rate(pl.col("internet") == "dsl") > 1.7 * leaving_rate(pl.col("internet") == "none")
        check = pl.col("payment_method") == "electronic check"
        assert leaving_rate(check) > 1.15 * leaving_rate(~check)
        online = pl.col("internet") != "none"
        assert leaving_rate(online & ~pl.col("online_security")) > leaving_rate(online & pl.col("online_security"))


class TestTrueHazard:
    def test_it_covers_exactly_those_who_are_still_there(self) -> None:
        source = SimulatedSource(START, 2000)
        active = snapshot(source, START + 1).filter(~pl.col("churned"))["customer_id"]
        assert source.true_hazard(START + 1)["customer_id"].equals(active)

    def test_as_many_leave_as_it_says_overall_and_in_every_tenth(self) -> None:
        rows = survivors().with_columns(tenth=(pl.col("hazard").rank("ordinal") * 10 // (pl.len() + 1)))
        for _, part in [((), rows), *rows.group_by("tenth")]:
            hazard = part["hazard"]
            error = float((hazard * (1 - hazard)).sum()) ** 0.5
            assert abs(part["leaves"].sum() - hazard.sum()) < 4 * error

    def test_it_bounds_what_any_model_can_reach(self) -> None:
        assert 0.78 < auc(survivors()["leaves"], survivors()["hazard"]) < 0.86

    def test_it_knows_of_a_coming_shock(self) -> None:
        calm = SimulatedSource(START, 2000)
        shaken = SimulatedSource(START, 2000, scenario=(CompetitorShock(month=START + 3),))
        assert (shaken.true_hazard(START + 2)["hazard"] > calm.true_hazard(START + 2)["hazard"]).all()
        assert shaken.true_hazard(START + 1).equals(calm.true_hazard(START + 1))


BEGINS = START + 3


@cache
def lived(*scenario: Scenario) -> dict[int, tuple[pl.DataFrame, pl.DataFrame]]:
    """Seven months of a small base: the snapshot of each, and the true hazard at its end."""
    source = SimulatedSource(START, 2000, scenario=scenario)
    return {at: (snapshot(source, START + at), source.true_hazard(START + at)) for at in range(7)}


def months() -> st.SearchStrategy[Month]:
    return st.integers(2, 5).map(lambda at: START + at)


Incident = CompetitorShock | PriceRise | NewChannel | BrokenColumn
INCIDENTS: st.SearchStrategy[Incident] = st.one_of(
    st.builds(CompetitorShock, month=months(), months=st.integers(1, 3), region=st.sampled_from([None, "north"])),
    st.builds(PriceRise, month=months()),
    st.builds(NewChannel, month=months(), payment_method=st.sampled_from(["electronic check", "mobile wallet"])),
    st.builds(BrokenColumn, month=months(), factor=st.sampled_from([1024.0, None])),
)


class TestScenarios:
    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(scenario=st.lists(INCIDENTS, min_size=1, max_size=3), order=st.permutations(range(7)))
    def test_months_before_an_incident_are_as_without_it_and_no_order_of_asking_changes_any(
        self, scenario: list[Incident], order: list[int]
    ) -> None:
        calm, struck = SimulatedSource(START, 150), SimulatedSource(START, 150, scenario=tuple(scenario))
        first = min(each.month for each in scenario) - START
        told = {at: (snapshot(struck, START + at), struck.true_hazard(START + at)) for at in range(7)}
        for at in order[:3]:
            simulated._RECENT.forget()
            assert snapshot(struck, START + at).equals(told[at][0])
            assert struck.true_hazard(START + at).equals(told[at][1])
        assert all(snapshot(calm, START + at).equals(told[at][0]) for at in range(first))
        assert all(calm.true_hazard(START + at).equals(told[at][1]) for at in range(first - 1))

    def test_a_shock_strikes_its_region_while_it_lasts(self) -> None:
        calm = lived()
        struck = lived(CompetitorShock(month=BEGINS, months=2, region="north", strength=2))
        rows = calm[2][0].select("customer_id", "region").join(calm[2][1], on="customer_id")
        both = rows.join(struck[2][1], on="customer_id", suffix="_struck")
        higher = both.select("region", higher=pl.col("hazard_struck") > pl.col("hazard"))
        assert higher.group_by("region").agg(pl.col("higher").mean()).sort("region")["higher"].to_list() == [
            0,
            0,
            1,
            0,
            0,
        ]
        means = [struck[at][1]["hazard"].mean() / calm[at][1]["hazard"].mean() for at in range(1, 5)]  # type: ignore[operator]
        assert means[0] == 1 and min(means[1:3]) > 1.15 and means[3] < 1.05

    def test_a_general_price_rise_reaches_everyone_and_makes_more_of_them_leave(self) -> None:
        calm, dear = lived(), lived(PriceRise(month=BEGINS, percent=10))
        both = calm[3][0].join(dear[3][0], on="customer_id", suffix="_dear")
        there = both.filter(pl.col("tenure_months") > 1)
        assert there.select((pl.col("price_change_dear") > pl.col("price_change")).all()).item()
        otherwise_the_same = both.filter(pl.col("price_change") == 0)
        assert otherwise_the_same["tenure_months"].min() == 1
        ratio = pl.col("monthly_charge_dear") / pl.col("monthly_charge")
        assert otherwise_the_same.select((ratio - 1.10).abs().max()).item() < 0.001
        raised = [dear[at][1]["hazard"].mean() / calm[at][1]["hazard"].mean() for at in range(2, 7)]  # type: ignore[operator]
        assert raised[0] == 1 and min(raised[1:4]) > 1.25 and raised[4] < 1.15

    def test_a_new_channel_brings_many_of_another_profile(self) -> None:
        calm, grown = lived(), lived(NewChannel(month=BEGINS, share=0.1, payment_method="mobile wallet"))
        assert "mobile wallet" not in calm[6][0]["payment_method"]
        now = grown[3][0].join(grown[3][1], on="customer_id", how="left")
        brought = pl.col("payment_method") == "mobile wallet"
        assert 150 < now.filter(brought).height < 250
        assert now.filter(brought)["tenure_months"].unique().to_list() == [1]
        assert now.filter(brought).select((pl.col("age_band") == "18-29").mean()).item() > 0.5
        ordinary = now.filter(~brought & (pl.col("tenure_months") == 1))
        assert now.filter(brought)["hazard"].mean() > 1.5 * ordinary["hazard"].mean()  # type: ignore[operator]
        assert grown[6][0]["payment_method"].eq("mobile wallet").sum() > 450

    @pytest.mark.parametrize(("factor", "told"), [(1024, pl.col("data_gb") * 1024), (None, pl.lit(None, pl.Float64))])
    def test_a_broken_column_says_other_values_of_the_same_customers(self, factor: float | None, told: pl.Expr) -> None:
        calm = lived()
        broken = lived(BrokenColumn(month=BEGINS, until=BEGINS + 1, factor=factor))
        for at in range(7):
            expected = calm[at][0].with_columns(told.alias("data_gb")) if at in (3, 4) else calm[at][0]
            assert broken[at][0].equals(expected)
            assert broken[at][1].equals(calm[at][1])

    def test_a_column_of_whole_numbers_stays_one(self) -> None:
        hours = lived(BrokenColumn(month=BEGINS, column="days_since_last_login", factor=24))[3][0]
        assert hours.schema == lived()[3][0].schema
        assert hours["days_since_last_login"].equals(lived()[3][0]["days_since_last_login"] * 24)

    def test_a_season_swings_usage_and_leaving_as_far_as_it_says(self) -> None:
        seasonal = lived(Seasonal(amplitude=0.4, peak=1))
        for column in ("data_gb", "call_minutes"):
            usage = [seasonal[at][0][column].mean() / lived()[at][0][column].mean() for at in (0, 6)]  # type: ignore[operator]
            assert usage == pytest.approx([1.4, 0.6], rel=0.05)
        leaving = [seasonal[at][1]["hazard"].mean() / lived()[at][1]["hazard"].mean() for at in range(7)]  # type: ignore[operator]
        assert leaving[5] < 0.75 and leaving[0] > 1.2
