"""Measures the simulated source: seconds and peak memory, and what models can learn from it.

    python benchmarks/simulator.py --customers 7000 --months 24
    python benchmarks/simulator.py --customers 1000000 --months 24 --generate-only
    python benchmarks/simulator.py --customers 20000 --scenarios

The models train on all months but the last ``--test-months`` (and one month of purge gap) and are judged on those:
logistic regression and XGBoost, each on the current month alone and with lags, trends and trailing sums. The bound is
the AUC of the true hazard, which no model can know in full.

With ``--scenarios``, XGBoost trains on the twelve months before each scenario begins, and is judged on those after: how
many left, how many it expected, its AUC and the bound, and the columns that moved most from the training months.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator

import numpy as np
import polars as pl

from churn_assets.monitoring.drift import psi
from churn_assets.months import Month
from churn_assets.sources.simulated import SimulatedSource
from churn_assets.spec.scenario import BrokenColumn, CompetitorShock, NewChannel, PriceRise, Scenario, Seasonal

ID, LABEL, BOUND, AT = "customer_id", "leaves", "hazard", "at"
CATEGORIES = ("age_band", "region", "contract", "internet", "payment_method")
RECENT = ("support_calls", "complaints", "payment_failures", "price_change", "usage")


def months_of(source: SimulatedSource, months: int, hazards: bool) -> Iterator[pl.DataFrame]:
    """The snapshots, month by month; with the true hazard of the following month if asked for."""
    for at in range(months):
        month = source.start + at
        frame = pl.DataFrame(pl.from_arrow(source.read(month).batches.read_all()))
        frame = frame.with_columns(pl.lit(at).alias(AT), pl.coalesce("data_gb", "call_minutes").alias("usage"))
        yield frame.join(source.true_hazard(month), on=ID, how="left", maintain_order="left") if hazards else frame


def with_lags(panel: pl.DataFrame) -> pl.DataFrame:
    """Values of the last three months, their trailing sums, and usage against three months ago."""
    lagged = panel.sort(ID, AT).with_columns(
        *(pl.col(name).shift(back).over(ID).alias(f"{name}_lag{back}") for name in RECENT for back in (1, 2, 3))
    )
    trends = [
        (pl.col("usage") / pl.col(f"usage_lag{back}")).log().clip(-3.0, 3.0).alias(f"usage_trend{back}")
        for back in (1, 2, 3)
    ]
    sums = [
        pl.sum_horizontal(name, f"{name}_lag1", f"{name}_lag2").alias(f"{name}_3m")
        for name in ("support_calls", "complaints", "payment_failures", "price_change")
    ]
    return lagged.with_columns(*trends, *sums)


def labelled(panel: pl.DataFrame) -> pl.DataFrame:
    """Customers still active at the end of a month, with whether they leave in the next."""
    following = panel.select(ID, pl.col(AT) - 1, pl.col("churned").alias(LABEL))
    return panel.filter(~pl.col("churned")).join(following, on=[ID, AT], how="inner")


def matrix(panel: pl.DataFrame) -> pl.DataFrame:
    """Numbers only: categories as indicators, booleans as 0 and 1."""
    known = panel.drop(ID, LABEL, BOUND, AT, "churned", "signup_month", "usage")
    return known.to_dummies(CATEGORIES, drop_first=True).cast(pl.Float32)


def report_models(panel: pl.DataFrame, test_from: int) -> None:
    """Prints the out-of-time AUC of the bound and of each model."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from xgboost import XGBClassifier

    rows = labelled(with_lags(panel)).filter(pl.col(AT) >= 3)
    train, test = rows.filter(pl.col(AT) < test_from - 1), rows.filter(pl.col(AT) >= test_from)
    truth = test[LABEL].to_numpy()
    print(f"  rows: {len(train):,} train, {len(test):,} test; {truth.mean():.2%} leave")
    print(f"  {'true hazard':<34}{roc_auc_score(truth, test[BOUND]):.4f}")
    features = matrix(rows)
    current = [name for name in features.columns if not any(mark in name for mark in ("_lag", "_3m", "_trend"))]
    parts = rows[AT].to_numpy()
    for label, names in (("current month", current), ("with lags and trends", features.columns)):
        values = features.select(names).to_numpy()
        fit, judge = values[parts < test_from - 1], values[parts >= test_from]
        learners = {
            "logistic regression": make_pipeline(
                SimpleImputer(strategy="median", add_indicator=True),
                StandardScaler(),
                LogisticRegression(max_iter=500),
            ),
            "xgboost": XGBClassifier(max_depth=3, n_estimators=300, learning_rate=0.05, random_state=0, n_jobs=2),
        }
        for name, learner in learners.items():
            began = time.perf_counter()
            learner.fit(fit, train[LABEL].to_numpy())
            score = roc_auc_score(truth, learner.predict_proba(judge)[:, 1])
            print(f"  {name + ', ' + label:<42}{score:.4f}  ({time.perf_counter() - began:.1f} s)")


def scenarios(month: Month) -> dict[str, tuple[Scenario, ...]]:
    """Each scenario as it comes, and a shock that changes who leaves."""
    return {
        "none": (),
        "competitor_shock": (CompetitorShock(month=month),),
        "competitor_shock, six months in the north, strength 3": (
            CompetitorShock(month=month, months=6, region="north", strength=3),
        ),
        "price_rise": (PriceRise(month=month),),
        "new_channel": (NewChannel(month=month),),
        "broken_column": (BrokenColumn(month=month),),
        "seasonal": (Seasonal(),),
    }


def report_scenarios(start: Month, customers: int, seed: int, begins: int = 16, after: int = 8) -> None:
    """Prints what each scenario does to leaving, to a model that learned before it began, and to the columns."""
    from sklearn.metrics import roc_auc_score
    from xgboost import XGBClassifier

    for name, scenario in scenarios(start + begins).items():
        source = SimulatedSource(start, customers, seed, scenario)
        panel = with_lags(pl.concat(months_of(source, begins + after + 1, hazards=True)))
        rows = labelled(panel).filter(pl.col(AT) >= 3)
        values, parts = matrix(rows).to_numpy(), rows[AT].to_numpy()
        # The labels of the last month before the scenario are known in its first: that month judges, it doesn't teach.
        taught = (parts >= begins - 13) & (parts < begins - 1)
        learner = XGBClassifier(max_depth=3, n_estimators=150, learning_rate=0.1, random_state=0, n_jobs=2)
        learner.fit(values[taught], rows[LABEL].to_numpy()[taught])
        print(name)
        print("  month  left  expected    AUC  bound  columns that moved most (PSI)")
        for at in range(begins - 1, begins + after):
            month = rows.filter(pl.col(AT) == at)
            truth, score = month[LABEL].to_numpy(), learner.predict_proba(values[parts == at])[:, 1]
            auc, bound = roc_auc_score(truth, score), roc_auc_score(truth, month[BOUND])
            moved = moved_most(rows.filter(pl.Series(taught)), month)
            print(f"  {at - begins:+5d}{truth.mean():6.1%}{score.mean():10.1%}{auc:7.3f}{bound:7.3f}  {moved}")


def moved_most(before: pl.DataFrame, now: pl.DataFrame, bins: int = 10) -> str:
    """The three columns whose values moved most, by the PSI over the deciles of ``before``."""
    found = {}
    for name in before.columns:
        if name in (ID, LABEL, BOUND, AT, "churned", "signup_month", "usage"):
            continue
        if before[name].dtype.is_float() or before[name].dtype.is_integer():
            deciles = before[name].drop_nulls().quantile
            breaks = sorted({float(deciles(share / bins) or 0.0) for share in range(1, bins)})
            both = [frame[name].cut(breaks).cast(pl.String).fill_null("missing") for frame in (before, now)]
        else:
            both = [frame[name].cast(pl.String) for frame in (before, now)]
        values = pl.concat(both).unique()
        then, at = ([float((column == value).mean() or 0.0) for value in values] for column in both)
        found[name] = psi(then, at)
    most = sorted(found, key=lambda name: -found[name])[:3]
    return ", ".join(f"{name} {found[name]:.2f}" for name in most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=7000)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--test-months", type=int, default=6)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--start", type=Month.parse, default=Month(2023, 1))
    parser.add_argument("--scenarios", action="store_true")
    parser.add_argument("--generate-only", action="store_true")
    asked = parser.parse_args()

    if asked.scenarios:
        return report_scenarios(asked.start, asked.customers, asked.seed)
    source = SimulatedSource(asked.start, asked.customers, asked.seed)
    print(f"{asked.customers:,} customers x {asked.months} months from {asked.start}, seed {asked.seed}")
    frames: list[pl.DataFrame] = []
    rates: list[float] = []
    rows, began = 0, time.perf_counter()
    for frame in months_of(source, asked.months, hazards=not asked.generate_only):
        rows, rates = rows + len(frame), [*rates, float(frame["churned"].sum()) / len(frame)]
        if not asked.generate_only:
            frames.append(frame)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"  generated {rows:,} rows in {seconds:.1f} s; peak memory {peak:.2f} GiB; churn {np.mean(rates):.2%} a month"
    )
    if frames:
        report_models(pl.concat(frames), asked.months - 1 - asked.test_months)


if __name__ == "__main__":
    main()
