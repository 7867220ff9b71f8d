"""Measures training, evaluation and explanation: ours beside bare calls of the libraries that do the same fits.

    python benchmarks/learning.py --rows 100000 --rounds 3

Half a dozen months of customers with 38 features, six of them categories, and missing values; about three in a hundred
leave. Both ways fit a logistic regression and XGBoost with the same parameters and number of trees, choose that number
on the newest month inside the training, score the last month, and explain its 300 customers most at risk.

"bare" is what one writes in a notebook: columns to a matrix, scikit-learn's pipeline, ``XGBClassifier.fit`` on as many
threads as ours, one candidate after the other, ``roc_auc_score``, ``pred_contribs``. "ours" does that and what a month
needs besides: both candidates compared and calibrated on a month of their own, every figure of an evaluation with its
interval, and reasons in words.

Every run is a process of its own that has imported everything before its clock starts; rounds are interleaved, and
ratios are of medians. CPU seconds tell more than seconds where the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from memory import peak_mib
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import DMatrix, XGBClassifier

from churn_assets.features.words import Words
from churn_assets.learning.boosting import DEFAULTS, MANY_ROWS
from churn_assets.learning.evaluation import evaluate
from churn_assets.learning.explanation import reasons
from churn_assets.learning.training import train
from churn_assets.months import Fold, Month
from churn_assets.spec.learning import CandidateSpec

MONTHS, NUMBERS, CATEGORIES, LISTED, PATIENCE = 6, 32, 6, 300, 50
FEATURES = [*(f"x{i}" for i in range(NUMBERS)), *(f"c{i}" for i in range(CATEGORIES))]
CANDIDATES = [
    CandidateSpec(name="baseline", kind="logistic"),
    CandidateSpec(name="xgboost", kind="xgboost", early_stopping=PATIENCE),
]
Scores = dict[str, float]


def fill(folder: Path, rows: int) -> None:
    """Writes ``rows`` rows, the months in equal parts: four to fit, one to calibrate, one to validate."""
    random = np.random.default_rng(0)
    numbers = random.normal(size=(rows, NUMBERS)).astype(np.float32)
    numbers[:, :8] = random.poisson(1.5, size=(rows, 8))
    codes = random.integers(0, 8, size=(rows, CATEGORIES))
    risk = -4.6 + 0.4 * numbers[:, :4].sum(axis=1) + 0.5 * numbers[:, 9] - 0.4 * numbers[:, 10] * numbers[:, 11]
    risk += 0.8 * (codes[:, 0] == 3) - 0.8 * (codes[:, 1] > 5)
    left = random.random(rows) < 1 / (1 + np.exp(-risk))
    numbers[random.random(size=numbers.shape) < 0.05] = np.nan
    month = np.arange(rows) * MONTHS // rows
    pl.DataFrame({"customer_id": np.arange(rows) - month * (rows // MONTHS), "month": month}).with_columns(
        pl.col("customer_id").cast(pl.String),
        pl.date(2025, pl.col("month") + 1, 1).alias("event_month"),
        pl.Series("part", np.array(["fit"] * (MONTHS - 2) + ["calibrate", "validate"])[month]),
        pl.Series("label", left),
        *(pl.Series(f"x{i}", numbers[:, i]).fill_nan(None) for i in range(NUMBERS)),
        *(pl.Series(f"c{i}", [f"level {k}" for k in range(8)]).gather(codes[:, i]) for i in range(CATEGORIES)),
    ).write_parquet(folder / "rows.parquet")


def ours(rows: pl.DataFrame, took: Callable[[str], None]) -> Scores:
    fit = [Month(2025, m + 1) for m in range(MONTHS - 2)]
    training = train(rows, FEATURES, CANDIDATES, 0, months=[Fold(tuple(fit[:-1]), fit[-1])])
    took("train")
    judged = rows.filter(pl.col("part") == "validate")
    found = {name: evaluate(judged["label"], model.predict(judged)) for name, model in training.models.items()}
    took("evaluate")
    model = training.models["xgboost"]
    listed = judged[np.argsort(-model.predict(judged), kind="stable")[:LISTED]]
    assert reasons(model, listed, Words()).height == LISTED
    took("explain")
    return {**{name: f.auc.value for name, f in found.items()}, "trees": model.params["n_estimators"]}


def bare(rows: pl.DataFrame, took: Callable[[str], None]) -> Scores:
    numbers, categories = FEATURES[:NUMBERS], FEATURES[NUMBERS:]
    frame = rows.with_columns(pl.col(c).cast(pl.Categorical).to_physical().cast(pl.Float32) for c in categories)
    month, left = rows["event_month"].dt.month().to_numpy(), rows["label"].to_numpy().astype(np.int8)
    matrix = frame.select(FEATURES).to_numpy(order="c").astype(np.float32)
    fit, judged = month <= MONTHS - 2, month == MONTHS
    teach, stop = month < MONTHS - 2, month == MONTHS - 2
    places = list(range(len(FEATURES)))
    columns = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()),
         places[: len(numbers)]),
        ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), places[len(numbers) :]),
    ])  # fmt: skip
    baseline = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(matrix[fit], left[fit])
    types = ["q"] * len(numbers) + ["c"] * len(categories)
    threads = 1 if fit.sum() <= MANY_ROWS else os.cpu_count()
    same = {"feature_types": types, "enable_categorical": True, "random_state": 0, "n_jobs": threads}
    watched = XGBClassifier(**{**DEFAULTS, **same}, early_stopping_rounds=PATIENCE, eval_metric="logloss")
    watched.fit(matrix[teach], left[teach], eval_set=[(matrix[stop], left[stop])], verbose=False)
    trees = watched.best_iteration + 1
    boosted = XGBClassifier(**{**DEFAULTS, **same, "n_estimators": trees}).fit(matrix[fit], left[fit])
    took("train")
    aucs = {}
    for name, model in (("baseline", baseline), ("xgboost", boosted)):
        p = model.predict_proba(matrix[judged])[:, 1]
        aucs[name] = float(roc_auc_score(left[judged], p))
        assert np.isfinite(log_loss(left[judged], p))
    took("evaluate")
    listed = matrix[judged][np.argsort(-p, kind="stable")[:LISTED]]
    data = DMatrix(listed, feature_types=types, enable_categorical=True)
    assert boosted.get_booster().predict(data, pred_contribs=True).shape == (LISTED, len(FEATURES) + 1)
    took("explain")
    return {**aucs, "trees": trees}


WAYS = {"ours": ours, "bare": bare}


def go_once(way: str, folder: Path) -> None:
    """Does one thing and prints what it took, as JSON."""
    rows = pl.read_parquet(folder / "rows.parquet")
    begun, cpu = time.perf_counter(), time.process_time()
    marks: dict[str, float] = {}

    def took(step: str) -> None:
        marks[step] = time.perf_counter() - begun - sum(marks.values())

    scores = WAYS[way](rows, took)
    print(json.dumps({
        **marks, "s": time.perf_counter() - begun, "cpu": time.process_time() - cpu, "mib": peak_mib(), **scores,
    }))  # fmt: skip


def measure(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            command = [sys.executable, __file__, "--only", way, "--folder", str(folder)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            runs[way].append(json.loads(told.splitlines()[-1]))
    return {way: {k: median(run[k] for run in taken) for k in taken[0]} for way, taken in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=WAYS, help="do this once and print what it takes")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.only:
        go_once(asked.only, asked.folder)
        return
    with TemporaryDirectory() as folder:
        fill(Path(folder), asked.rows)
        taken = measure(Path(folder), asked.rounds)
    print(f"{asked.rows:,} rows x {len(FEATURES)} features, {LISTED} customers explained")
    for way, took in taken.items():
        steps = ", ".join(f"{step} {took[step]:.2f}" for step in ("train", "evaluate", "explain"))
        print(f"  {way:<5}{took['s']:8.2f} s ({steps}){took['cpu']:8.2f} s CPU{took['mib']:7,.0f} MiB at its peak   "
              f"AUC {took['baseline']:.4f} and {took['xgboost']:.4f} with {took['trees']:.0f} trees")  # fmt: skip
    own, other = taken["ours"], taken["bare"]
    ratios = {"seconds": "s", "CPU": "cpu", "memory": "mib"}
    print("  ours / bare: " + ", ".join(f"{own[k] / other[k]:.2f}x of its {name}" for name, k in ratios.items()))


if __name__ == "__main__":
    main()
