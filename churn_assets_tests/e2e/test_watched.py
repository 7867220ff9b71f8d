"""What is watched without a lake, to live years in seconds, comes to what the pipeline itself comes to."""

from __future__ import annotations

import pytest

from churn_assets.months import Month
from churn_assets.retraining import require_decided
from churn_assets_tests.conftest import MONTHS
from churn_assets_tests.installation import Installation
from churn_assets_tests.monitoring.watched import Watch

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_pure_parts_decide_as_the_pipeline_does_and_by_the_same_figures(finished: Installation) -> None:
    pipeline = finished.pipeline()
    for seen in Watch(pipeline.spec).live(len(MONTHS)):
        decision = require_decided(pipeline, Month.parse(str(seen.month)))
        assert (seen.decision.outcome, seen.decision.learn_in) == (decision.outcome, decision.learn_in)
        assert [(e.rule, e.violated) for e in seen.decision.evidence] == [
            (e.rule, e.violated) for e in decision.evidence
        ]
        for own, its in zip(seen.decision.evidence, decision.evidence, strict=True):
            assert [own.found, own.lower, own.upper] == pytest.approx([its.found, its.lower, its.upper])
        drift = pipeline.lake.record("drift", seen.month)
        kept = pipeline.lake.scan_record(drift).collect() if drift and drift.files else None
        assert (kept is None) == (seen.drift is None)
        if kept is not None and seen.drift is not None:
            assert kept.sort("subject", "against")["effect"].to_list() == pytest.approx(
                seen.drift.table.sort("subject", "against")["effect"].to_list()
            )
