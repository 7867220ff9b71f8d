"""What the UI and MLflow are shown of an evaluation: figures, tables and charts of every candidate and the champion."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg
import polars as pl
import polars.selectors as cs

from churn_assets.assets.charts import Chart, Line, bar_chart, curve_chart, histogram_chart
from churn_assets.assets.stage import Check
from churn_assets.learning.curves import Curves, curves, reliability, score_distribution
from churn_assets.learning.evaluation import Evaluation, Flags, Floats, Interval, evaluate
from churn_assets.learning.segments import Segments, by_segment
from churn_assets.learning.training import Training
from churn_assets.retention.profit import Outcomes, Profit
from churn_assets.spec import PipelineSpec

CHAMPION = "champion"
"""What the champion is called beside the candidates."""

_SHOWN = 15
"""Features whose importance is drawn."""

_LISTED = 50
"""Segments that the UI shows; all of them are in MLflow."""

_COMPARED = (
    "candidate", "role", "auc", "auc_lower", "auc_upper", "pr_auc", "log_loss", "brier_skill", "calibration_error",
    "top_decile_lift", "precision_at_budget", "profit", "profit_lower", "profit_upper",
)  # fmt: skip
"""Figures in which the UI compares the models; the stage's table has all."""


@dataclass(frozen=True)
class Report:
    """Everything that the validation rows say of a month's models.

    Attributes:
        challenger: name of the candidate that challenges.
        baseline: name of the candidate that the specification names first.
        evaluations: by candidate, and by ``CHAMPION`` where it could be compared.
        profits: what the list of each of them would have brought.
        profit_difference: the challenger's profit minus the champion's; None without a champion.
        segments: the challenger's figures by segment.
        charts: by name: ``roc``, ``precision_recall``, ``lift``, ``reliability``, ``scores`` and ``importance``.
        tables: what the charts draw, by name.
    """

    challenger: str
    baseline: str
    evaluations: dict[str, Evaluation]
    profits: dict[str, Profit]
    profit_difference: Interval | None
    segments: Segments
    charts: dict[str, Chart]
    tables: dict[str, pl.DataFrame]

    def figures(self, name: str) -> dict[str, float]:
        """All figures of a candidate, or of ``CHAMPION``, flat."""
        return {**self.evaluations[name].as_dict(), **self.profits[name].as_dict()}

    @property
    def scores(self) -> pl.DataFrame:
        """``candidate``, its ``role``, and all figures; a row each."""
        roles = {CHAMPION: "champion", self.baseline: "baseline", self.challenger: "challenger"}
        rows = [
            {"candidate": name, "role": roles.get(name, "candidate"), **self.figures(name)} for name in self.evaluations
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    @property
    def metadata(self) -> dict[str, Any]:
        """For the UI: figures as numbers, so that it plots them over the months, then tables and charts."""
        own = {name.replace("_", " "): value for name, value in self.figures(self.challenger).items()}
        flagged = self.segments.flagged.height
        return {
            **own,
            **self._against("baseline", self.baseline),
            **self._against(CHAMPION, CHAMPION),
            **_ends("profit against the champion", self.profit_difference),
            "candidates": self.scores.select(cs.by_name(*_COMPARED, require_all=False)),
            "segments that stand out": flagged,
            "segments": self.segments.table.head(_LISTED),
            # In one piece: each picture of its own would be a click of its own.
            "charts": dg.MetadataValue.md("\n\n".join(chart.markdown for chart in self.charts.values())),
        }

    @property
    def metrics(self) -> dict[str, float]:
        """For MLflow: the challenger's figures, and those of all as ``<name>.<figure>``."""
        everyone = {f"{name}.{k}": v for name in self.evaluations for k, v in self.figures(name).items()}
        against = {k.replace(" ", "_"): v for k, v in _ends("profit against champion", self.profit_difference).items()}
        return {**self.figures(self.challenger), **everyone, **against}

    @property
    def artefacts(self) -> dict[str, str]:
        """For MLflow: file name -> text; the charts as SVG, what they draw and the segments as JSON."""
        drawn = {name: table.to_dict(as_series=False) for name, table in self.tables.items()}
        return {
            **{f"{name}.svg": chart.svg for name, chart in self.charts.items()},
            "curves.json": json.dumps(drawn),
            "segments.json": self.segments.table.write_json(),
        }

    @property
    def segments_check(self) -> Check:
        """Warns of segments for which the challenger is worse, or badly calibrated."""
        flagged = self.segments.flagged
        return Check("segments", flagged.is_empty(), self.segments.reason, warn=True,
                     figures={"segments that stand out": flagged} if len(flagged) else {})  # fmt: skip

    def _against(self, role: str, name: str) -> dict[str, float]:
        """What stands beside the challenger's figures: those of another model."""
        if name not in self.evaluations:
            return {}
        evaluation, profit = self.evaluations[name], self.profits[name]
        return {f"{role} auc": evaluation.auc.value, f"{role} profit": profit.realised.value}


def report(
    training: Training, judged: pl.DataFrame, spec: PipelineSpec, parts: pl.DataFrame, champion: Floats | None = None
) -> Report:
    """Judges every candidate of a training, and the champion, on the same rows.

    Args:
        training: the candidates.
        judged: (n, ...) validation rows of one month with ``customer_id``, ``event_month``, ``label`` and the features.
        spec: the pipeline.
        parts: the dataset version's parts, which say how many customers the validation month has in all.
        champion: (n,) the champion's predictions for ``judged``; None where there is none, or it can't be compared.

    Raises:
        LearningError: the rows hold one class only, or a prediction isn't a number from 0 to 1.
    """
    left = judged["label"].cast(pl.Boolean).to_numpy()
    confidence, seed = spec.gates.confidence, spec.training.seed
    predictions = {name: model.predict(judged) for name, model in training.models.items()}
    if champion is not None:
        predictions[CHAMPION] = champion
    challenger, baseline = training.challenger, spec.candidates[0].name
    outcomes = Outcomes(judged, "customer_id", spec.value, _customers(judged, parts))
    evaluations = {name: evaluate(left, p, confidence, seed) for name, p in predictions.items()}
    drawn = {name: p for name, p in predictions.items() if name in (challenger, baseline, CHAMPION)}
    ordered = dict(sorted(drawn.items(), key=lambda item: item[0] != challenger))
    tables = _tables(left, ordered, confidence)
    return Report(
        challenger=challenger,
        baseline=baseline,
        evaluations=evaluations,
        profits={name: outcomes.profit(p, confidence, seed) for name, p in predictions.items()},
        profit_difference=None if champion is None
        else outcomes.difference(predictions[challenger], champion, confidence, seed),
        segments=by_segment(judged, predictions[challenger], spec.evaluation, confidence),
        charts=_charts(tables, challenger, evaluations, training.models[challenger].importance()),
        tables=tables,
    )  # fmt: skip


def _customers(judged: pl.DataFrame, parts: pl.DataFrame) -> int:
    """Customers of the judged month, those included whose outcome isn't known and those who taught."""
    own = parts.filter(pl.col("event_month").str.to_date("%Y-%m").is_in(judged["event_month"].unique().implode()))
    return int(own["rows"].sum()) + int(own["unknown"].sum())


def _tables(left: Flags, predictions: Mapping[str, Floats], confidence: float) -> dict[str, pl.DataFrame]:
    """What is drawn, with a column ``model`` where the models share a chart."""
    found = {name: curves(left, p) for name, p in predictions.items()}
    parts: dict[str, Callable[[Curves], pl.DataFrame]] = {
        "roc": lambda c: c.roc, "precision_recall": lambda c: c.precision_recall, "lift": lambda c: c.gains,
    }  # fmt: skip
    tables = {part: _stacked({name: take(own) for name, own in found.items()}) for part, take in parts.items()}
    bins = {name: reliability(left, p, confidence=confidence) for name, p in predictions.items()}
    scores = score_distribution(left, next(iter(predictions.values())))
    return {**tables, "reliability": _stacked(bins), "scores": scores}


def _stacked(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([table.select(pl.lit(name).alias("model"), pl.all()) for name, table in tables.items()])


def _charts(
    tables: Mapping[str, pl.DataFrame],
    challenger: str,
    evaluations: Mapping[str, Evaluation],
    importance: Mapping[str, float],
) -> dict[str, Chart]:
    lines = partial(_lines, evaluations=evaluations)
    scores = tables["scores"]
    top = sorted(importance.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
    return {
        "roc": curve_chart(
            "ROC curve",
            lines(tables["roc"], "fpr", "tpr", lambda e: f"AUC {e.auc.value:.3f}"),
            ("share contacted of those who stayed", "share contacted of those who left"),
            diagonal=True,
            across=(0, 1),
            up=(0, 1),
        ),
        "precision_recall": curve_chart(
            "Precision and recall",
            lines(_begun(tables["precision_recall"], "recall"), "recall", "precision",
                  lambda e: f"PR-AUC {e.pr_auc:.3f}"),
            ("recall: share of leavers found", "precision"),
            level=evaluations[challenger].rate,
            across=(0, 1),
        ),
        "lift": curve_chart(
            "Cumulative lift",
            lines(_begun(tables["lift"], "share"), "share", "lift", lambda e: f"top tenth {e.top_decile_lift:.2f}"),
            ("share of customers contacted", "lift: rate of leaving over the overall one"),
            level=1.0,
            across=(0, 1),
        ),
        "reliability": curve_chart(
            "Reliability",
            lines(tables["reliability"], "predicted", "observed", lambda e: f"error {e.calibration_error:.4f}",
                  bars=challenger),
            ("predicted rate", "observed rate"),
            diagonal=True,
        ),
        "scores": histogram_chart(
            f"Scores of {challenger}",
            [*scores["from"], scores["to"][-1]],
            {"left": scores["left"].to_list(), "stayed": scores["stayed"].to_list()},
            "predicted probability of leaving",
        ),
        "importance": bar_chart(f"Importance for {challenger}", [name for name, _ in top], [v for _, v in top]),
    }  # fmt: skip


def _begun(table: pl.DataFrame, place: str) -> pl.DataFrame:
    """Without the first hundredth, where a handful of customers makes a figure that dwarfs all others."""
    return table.filter(pl.col(place) >= 0.01)


def _lines(
    table: pl.DataFrame,
    x: str,
    y: str,
    figure: Callable[[Evaluation], str],
    evaluations: Mapping[str, Evaluation],
    bars: str = "",
) -> list[Line]:
    """A line for each model, with its figure in the legend; the intervals of ``bars`` are drawn."""
    return [
        Line(
            name=f"{name}: {figure(evaluations[str(name)])}",
            x=own[x].to_list(),
            y=own[y].to_list(),
            low=own["lower"].to_list() if name == bars else (),
            high=own["upper"].to_list() if name == bars else (),
            dots=name == bars,
        )
        for (name,), own in table.group_by("model", maintain_order=True)
    ]


def _ends(name: str, interval: Interval | None) -> dict[str, float]:
    if interval is None:
        return {}
    return {name: interval.value, f"{name} lower": interval.lower, f"{name} upper": interval.upper}
