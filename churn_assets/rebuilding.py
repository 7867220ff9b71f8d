"""A lake in which what a month was made from is made again: what was received is copied, and the stages do the rest.

Nothing stops a stage here: what blocks compares a month with others, which may not be there, and it passed then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import dagster as dg

from churn_assets.assets import ALL
from churn_assets.assets.options import RunOptions
from churn_assets.assets.stage import CheckPlan, Listener, Stage
from churn_assets.component import build_definitions
from churn_assets.errors import LakeError
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.runs import run_months
from churn_assets.settings import Settings
from churn_assets.store.content import json_hash
from churn_assets.store.datasets import MADE, TableMonth, version_of
from churn_assets.store.lake import Commit, Lake, MonthRecord

NOTHING = "nothing"


@dataclass(frozen=True)
class Compared:
    """One thing that was made again: its hash as recorded, and as it came out; ``problem`` says why nothing did."""

    name: str
    recorded: str
    rebuilt: str
    problem: str = ""

    @property
    def equal(self) -> bool:
        """Whether both are the same."""
        return self.recorded == self.rebuilt


class Stopped(Exception):
    """A stage failed, which is among what was compared; nothing behind it can be made."""


@dataclass
class Rebuilding:
    """A lake below ``into`` that begins empty.

    Attributes:
        origin: the pipeline that made everything first; it is only read.
        compared: everything that was made again, in the order in which it was.
        doubts: why a difference would be no surprise; one sentence each.
        stands: what each month holds just now, so that it can be another version of it later.
    """

    origin: Pipeline
    into: Path
    instance: dg.DagsterInstance
    listener: Listener | None = None
    compared: dict[tuple[str, str], Compared] = field(default_factory=dict)
    doubts: dict[str, None] = field(default_factory=dict)
    stands: dict[str, str] = field(default_factory=dict)
    _declared: dict[str, tuple[Pipeline, dg.Definitions]] = field(default_factory=dict)

    @cached_property
    def here(self) -> Pipeline:
        """The pipeline as it is declared now, in the new lake."""
        return Pipeline(self.origin.spec, Settings(self.into, self.origin.settings.defs))

    @property
    def lake(self) -> Lake:
        """The new lake."""
        return self.here.lake

    def ensure(self, reads: Mapping[str, str], known: Iterable[TableMonth], spec: str) -> None:
        """Makes ``reads``, "<table> <month>" -> content, stand in the lake, and compares each with what is recorded.

        Args:
            reads: what is to be read next.
            known: that, and what it was made from, down to what was received.
            spec: hash of the specification that is taken where it isn't known which one made a month.

        Raises:
            LakeError: two versions of one month would have to stand there at once.
            Stopped: a stage failed.
        """
        self._ensure(reads, {(t.name, t.content): t for t in known}, spec)

    def run(
        self, stage: str, month: Month, spec: str, code: str, recorded: str, options: RunOptions | None = None
    ) -> MonthRecord:
        """Runs a stage by the specification of that hash; ``code`` and ``recorded`` are hashes as they were then.

        Raises:
            Stopped: the stage failed.
        """
        pipeline, definitions = self._at(spec)
        if code != ALL[stage].code(pipeline):
            self.doubts[f"{stage} was made by other code than the present: a difference is to be expected."] = None
        (result,) = run_months(
            self.instance, definitions, pipeline, [month], stages=[stage], options=options, listener=self.listener
        )
        made = self.lake.record(stage, month)
        if not result.success or made is None:
            self.compare(f"{stage} {month}", recorded, NOTHING, " ".join(result.problems))
            raise Stopped
        return made

    def compare(self, name: str, recorded: str, rebuilt: str, problem: str = "") -> None:
        """Notes what came out, once for each version of it."""
        self.compared.setdefault((name, recorded), Compared(name, recorded, rebuilt, problem))

    def content(self, table: str, month: Month) -> str:
        """The hash of what a month holds now."""
        record = self.lake.record(table, month)
        return record.content if record else NOTHING

    def decide(self, month: Month, champion: str | None) -> None:
        """Puts down which model is the champion after ``month``, without any model being judged."""
        if month >= self.origin.calendar.start:
            self.lake.write(
                "promotions", month, None, Commit(json_hash([str(month), champion])), reason="Taken as recorded.",
                facts={"champion": champion},
            )  # fmt: skip

    def _ensure(self, reads: Mapping[str, str], known: Mapping[tuple[str, str], TableMonth], spec: str) -> None:
        # What is made of others comes first: making it may put other versions of those in their place.
        wanted = sorted((known[read] for read in reads.items()), key=lambda t: (_distance(t.table), t.month, t.table))
        for one in wanted:
            self._stand(one, known, spec)
        if twice := [one.name for one in wanted if self.stands[one.name] != _token(one)]:
            raise LakeError(
                f"{', '.join(twice)}: expected one version of each month in what is made from them, found that another "
                "one is read as well. Run the stale months (`churn status`) again; a dataset made then can be replayed."
            )

    def _stand(self, one: TableMonth, known: Mapping[tuple[str, str], TableMonth], spec: str) -> None:
        if self.stands.get(one.name) != _token(one):
            month = Month.parse(one.month)
            if one.table in MADE:
                stage = stage_of(one.table)
                self._ensure(one.inputs, known, spec)
                self.run(stage.name, month, one.spec or spec, one.code, one.content)
                self.stands |= dict.fromkeys((f"{table} {month}" for table in stage.tables), _token(one))
            else:
                self._give(one, month)
                self.stands[one.name] = _token(one)
        self.compare(one.name, one.content, self.content(one.table, Month.parse(one.month)))

    def _give(self, one: TableMonth, month: Month) -> None:
        """Copies what was received, or entered by people, as it was read then."""
        lake = self.origin.lake
        record = version_of(lake, one.table, month, one.content)
        if record is None:
            raise LakeError(f"{one.name}: expected a record of the rows {one.content}, found none.")
        rows = self.lake.draft(lake.pieces(record)) if record.files else None
        commit = Commit(record.fingerprint, record.inputs, record.code, record.run_id)
        self.lake.write(one.table, month, rows, commit, reason=record.reason, facts=record.facts)

    def _at(self, spec: str) -> tuple[Pipeline, dg.Definitions]:
        """The pipeline as it was declared then, at work in the new lake."""
        if spec not in self._declared:
            pipeline = Pipeline(self.origin.specifications.get(spec), self.here.settings)
            stages = {name: replace(s, checks=tuple(map(_warning, s.checks))) for name, s in ALL.items()}
            self._declared[spec] = pipeline, build_definitions(pipeline, stages)
        return self._declared[spec]


def stage_of(table: str) -> Stage:
    """The stage that makes a table."""
    return next(stage for stage in ALL.values() if table in stage.tables)


def _warning(check: CheckPlan) -> CheckPlan:
    return replace(check, blocking=False, expectation="")


def _distance(table: str) -> int:
    """The less, the more stages lie between what was received and the table."""
    return -list(ALL).index(stage_of(table).name) if table in MADE else 0


def _token(one: TableMonth) -> str:
    """Two months of one stage with the same token stand there together, made by one run of it."""
    return json_hash([dict(one.inputs), one.spec]) if one.table in MADE else one.content
