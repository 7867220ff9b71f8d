"""The feature page of a month, as a pipeline's lake has it."""

from __future__ import annotations

from churn_assets.errors import ChurnAssetsError
from churn_assets.features.page import page
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline


def feature_page(pipeline: Pipeline, month: Month) -> str:
    """What each feature means and how it is distributed in ``month``, in Markdown.

    Raises:
        ChurnAssetsError: the month's catalogue was never made, or there were no customers.
    """
    record = pipeline.lake.record("feature_store", month)
    if record is None or not record.files:
        why = record.reason if record else f"Run `{pipeline.lake.remedy.format(first=month, last=month)}`."
        raise ChurnAssetsError(f"feature_store {month}: expected the catalogue of the features, found none. {why}")
    catalogue = pipeline.lake.scan_record(record).collect()
    return page(pipeline.spec, str(month), catalogue, *importance(pipeline, month))


def newest(pipeline: Pipeline) -> Month:
    """The newest month that has a catalogue; the pipeline's first month, if none has."""
    made = (pipeline.lake.record("feature_store", month) for month in reversed(pipeline.lake.months("feature_store")))
    return next((Month.parse(record.month) for record in made if record and record.files), pipeline.calendar.start)


def importance(pipeline: Pipeline, month: Month) -> tuple[str | None, dict[str, float]]:
    """The champion after the decision of ``month``, if that was made, and the share of each feature in it."""
    record = pipeline.lake.record("promotions", month)
    champion = record.facts.get("champion") if record else None
    if not champion or not pipeline.models.has(str(champion)):
        return None, {}
    return str(champion), pipeline.models.facts(str(champion)).get("importance", {})
