"""Why a month of a stage stands as it does, told from the records of a real installation."""

from __future__ import annotations

import pytest

from churn_assets.assets import ALL
from churn_assets.errors import MissingMonth, SpecError
from churn_assets.months import STAGES, Month
from churn_assets.pipeline import Pipeline
from churn_assets.why import why_run
from churn_assets.why.run import why_runs
from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e

MAY, FEBRUARY, MARCH = Month.parse("2024-05"), Month.parse("2024-02"), Month.parse("2024-03")


def codes(pipeline: Pipeline) -> dict[str, str]:
    return {name: stage.code(pipeline) for name, stage in ALL.items()}


def test_a_month_says_what_it_read_and_that_nothing_has_changed(finished: Installation) -> None:
    pipeline = finished.pipeline()
    found = why_run(pipeline, MAY, "features", codes(pipeline))
    assert (found.status, found.stale, found.next) == ("present", "", "A run would skip it: same inputs and code.")
    assert {r.name for r in found.read} == {f"validated_data 2024-0{m}" for m in (2, 3, 4, 5)}
    assert {r.now for r in found.read} == {"same"} and all(r.run_id and r.version is not None for r in found.read)
    record = pipeline.lake.record("features", MAY)
    assert record and (found.run_id, found.content, found.code) == (record.run_id, record.content, record.code)
    assert found.checks and all(check.reason for check in found.checks)
    assert len(found.versions) == 1


def test_every_stage_has_a_line_and_the_source_its_provenance(finished: Installation) -> None:
    pipeline = finished.pipeline()
    every = why_runs(pipeline, MAY, codes(pipeline))
    assert list(every) == list(STAGES) and all(every.values())
    raw = every["raw_data"]
    assert raw and raw.provenance and "ask the source" in raw.next
    model = every["model"]
    assert model and {r.now for r in model.read if r.name.startswith("promotions")} == {"same"}


def test_changed_code_is_what_is_stale(finished: Installation) -> None:
    pipeline = finished.pipeline()
    found = why_run(pipeline, MAY, "features", {**codes(pipeline), "features": "another"})
    assert found.status == "stale" and found.stale == "Its code or part of the specification changed since it was made."
    assert found.next == f"A run would compute it. {found.stale}"


def test_a_corrected_month_has_two_contents_and_makes_later_ones_stale(own_files: Installation) -> None:
    rows = own_files.received("2024-02")
    own_files.deliver("2024-02", rows.head(len(rows) - 1))
    assert all(r.success for r in own_files.run(["2024-02"], stages=["raw_data", "validated_data"]))
    pipeline = own_files.pipeline()
    mended = why_run(pipeline, FEBRUARY, "validated_data", codes(pipeline))
    assert [v.why for v in mended.versions] == ["", "Changed since it was made: raw_data 2024-02."]
    later = why_run(pipeline, MARCH, "features", codes(pipeline))
    assert later.status == "stale" and later.stale == "Changed since it was made: validated_data 2024-02."
    changed = {r.name: r for r in later.read}["validated_data 2024-02"]
    assert changed.now == "changed" and changed.content == mended.versions[0].content
    assert changed.run_id == mended.versions[0].run_id != mended.run_id


def test_an_unknown_stage_and_a_month_never_made_are_named(finished: Installation) -> None:
    pipeline = finished.pipeline()
    with pytest.raises(
        SpecError, match=r"stage 'feature': expected one of the pipeline's stages. Did you mean 'features'"
    ):
        why_run(pipeline, MAY, "feature", {})
    with pytest.raises(MissingMonth, match="features 2024-06: expected the month to be there, found it was never made"):
        why_run(pipeline, Month.parse("2024-06"), "features", {})
    with pytest.raises(MissingMonth, match="2024-06: expected a month that was run, found nothing of it"):
        why_runs(pipeline, Month.parse("2024-06"), {})
