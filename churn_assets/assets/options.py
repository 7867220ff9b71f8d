"""What a person can ask of a run in the launchpad, or on the command line: force, candidates, tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import dagster as dg
from pydantic import Field

from churn_assets.errors import SpecError
from churn_assets.months import STAGES
from churn_assets.spec import CandidateSpec, PipelineSpec, TuningSpec
from churn_assets.spec.base import nearest
from churn_assets.store.lake import MonthRecord

OPTIONS = "run_options"
"""The name under which they stand in the launchpad."""
Forced = Literal[
    "nothing", "raw_data", "validated_data", "features", "feature_store", "versioned_dataset", "model", "predictions",
    "retention_list", "monitoring",
]  # fmt: skip
assert get_args(Forced) == ("nothing", *STAGES)


class RunOptions(dg.ConfigurableResource[Any]):
    """What this run does otherwise than its pipeline declares. Its month is the partition that it is launched for."""

    force: Forced = Field(
        default="nothing",
        description="Compute even what is unchanged, from this stage on: raw_data for everything, nothing for what has "
        "changed alone.",
    )
    candidates: list[str] = Field(
        default=[],
        description="Candidates to train, by name; all if none is named. The first one that the pipeline declares, the "
        "baseline, is always trained. The month keeps the models so made until its inputs change.",
    )
    tuning: Literal["as_declared", "always", "never"] = Field(
        default="as_declared",
        description="Whether better parameters are searched for before training: as the candidates declare it; always, "
        "in their kind's own space where they declare none; or never. Kept like candidates.",
    )

    def check(self, spec: PipelineSpec) -> None:
        """Refuses candidates that the pipeline doesn't have.

        Raises:
            SpecError: there is one.
        """
        known = [c.name for c in spec.candidates]
        for name in self.candidates:
            if name not in known:
                raise SpecError(f"candidates: no candidate of {spec.name} is called {name!r}. {nearest(name, known)}")

    def forces(self, stage: str) -> bool:
        """Whether ``stage`` is computed even where nothing has changed."""
        return self.force != "nothing" and STAGES.index(stage) >= STAGES.index(self.force)

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that change what is trained, as they are remembered with the model; none where none was given."""
        given = {"candidates": self.candidates, "tuning": self.tuning}
        return {name: value for name, value in given.items() if value != type(self).model_fields[name].default}

    def applied(self, spec: PipelineSpec) -> PipelineSpec:
        """``spec`` with the candidates and the tuning that were asked for."""
        baseline, *others = spec.candidates
        left = [baseline, *(c for c in others if not self.candidates or c.name in self.candidates)]
        return spec.model_copy(update={"candidates": [self._tuned(c) for c in left]})

    def differs(self, spec: PipelineSpec, remembered: Mapping[str, Any]) -> bool:
        """Whether this run asks for other models than those that were made by ``remembered`` options."""
        stood = RunOptions(**remembered).applied(spec).candidates
        return bool(self.chosen) and self.applied(spec).candidates != stood

    @property
    def words(self) -> str:
        """The chosen options in words; empty where none was."""
        return ", ".join(
            f"{name} {' '.join(value) if isinstance(value, list) else value}" for name, value in self.chosen.items()
        )

    def _tuned(self, candidate: CandidateSpec) -> CandidateSpec:
        if self.tuning == "never":
            return candidate.model_copy(update={"tuning": None})
        if self.tuning == "always" and candidate.tuning:
            searched = candidate.tuning.model_copy(update={"only_ordered": False})
            return candidate.model_copy(update={"tuning": searched})
        if self.tuning == "always" and candidate.kind != "estimator":
            return candidate.model_copy(update={"tuning": TuningSpec()})
        return candidate


OFFERED = RunOptions.configure_at_launch()
"""What the launchpad offers: one object, since a run may make months of several pipelines."""


def chosen_options(record: MonthRecord) -> Mapping[str, Any]:
    """The options that a month was made with, as far as they change its result."""
    chosen: Mapping[str, Any] = record.facts.get("options", {})
    return chosen


def run_config(options: RunOptions) -> dict[str, Any]:
    """The configuration of a run with ``options``."""
    given = options.model_dump(exclude_defaults=True, include=set(RunOptions.model_fields))
    return {"resources": {OPTIONS: {"config": given}}}
