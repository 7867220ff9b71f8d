"""What a stage is: a function from a pipeline and a month to what it ``Made``, and what is declared with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache, reduce
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl
from pydantic_core import to_jsonable_python

from churn_assets.assets.options import RunOptions
from churn_assets.features.lineage import Lineage
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.settings import PACKAGE
from churn_assets.slots import Claim
from churn_assets.spec import PipelineSpec, Severity
from churn_assets.spec.base import SpecModel
from churn_assets.store.content import json_hash
from churn_assets.store.draft import Draft
from churn_assets.store.lake import MonthRecord

Listener = Callable[[str, Month, str], None]
LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
"""Told of every stage in this process: stage, month, and ``begins``, how far it has come (``...``), or how it ended."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check. A failure warns, or is an error; whether it blocks is declared with the stage."""

    name: str
    passed: bool
    reason: str
    warn: bool = False
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckPlan:
    """A check that a stage promises to make. A blocking one keeps a bad month out of the lake.

    Where a check that is ``about_what_follows`` fails, the month stands as it was made; if it blocks, it keeps the
    stages behind from going on with it.

    ``expectation`` names the pipeline's own setting, as a dotted path into the specification, that decides whether it
    blocks, warns or isn't made at all.
    """

    name: str
    description: str
    blocking: bool = False
    about_what_follows: bool = False
    expectation: str = ""

    def severity(self, spec: PipelineSpec) -> Severity:
        """What a failure does in a pipeline."""
        if self.expectation:
            whole: Any = spec
            chosen: Severity = reduce(getattr, self.expectation.split("."), whole)
            return chosen
        return "stop" if self.blocking else "warn"


@dataclass(frozen=True)
class Also:
    """What a stage makes of a month for a further table; no rows need a reason."""

    rows: pl.DataFrame | None
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """What a stage made of a month.

    Attributes:
        rows: the month's content, or a draft of it; None, with a ``reason``, if there is none.
        facts: remembered in the month's record (JSON).
        metadata: shown in the UI beside what every stage shows.
        lineage: what its columns are made of.
        also: further tables written with the month, by name.
        effect: done once all checks that block have passed, before the month is recorded; it may be done twice.
    """

    rows: pl.DataFrame | Draft | None
    reason: str = ""
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    lineage: Lineage = field(default_factory=dict)
    also: Mapping[str, Also] = field(default_factory=dict)
    effect: Callable[[], Mapping[str, Any] | None] | None = None


@dataclass(frozen=True)
class Work:
    """What a stage may use while it makes a month."""

    pipeline: Pipeline
    month: Month
    code: str
    run_id: str
    log: Any
    tracker: Any = None
    stage: str = ""
    instance: Any = None
    options: RunOptions = field(default_factory=RunOptions)
    attempt: int = 1

    @property
    def as_chosen(self) -> Work:
        """The same work by a specification with the candidates and the tuning that the run asks for."""
        if not self.options.chosen:
            return self
        return replace(self, pipeline=replace(self.pipeline, spec=self.options.applied(self.pipeline.spec)))

    def progress(self, what: str) -> None:
        """Says how far long work has come."""
        self.log.info(f"{self.stage} {self.month}: {what}")
        if listener := LISTENER.get():
            listener(self.stage, self.month, f"... {what}")


class Guard:
    """What surrounds a stage's reading and making; as it stands here, nothing."""

    @property
    def retries(self) -> bool:
        """Whether a further attempt within the run makes sense."""
        return True

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def checks(self) -> tuple[Check, ...]:
        """What it has found, as checks that are about the attempt and not about the month."""
        return ()

    def remark(self) -> str:
        """A sentence to add to the error of a run that fails; may be empty."""
        return ""


@dataclass(frozen=True)
class Beside:
    """A further table that a stage makes in the same step, shown as an asset of its own."""

    name: str
    description: str
    kinds: frozenset[str] = frozenset({"deltalake"})


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        sections: parts of the specification that its result depends on, as dotted paths.
        modules: files and folders of this package that its result depends on, besides its own in ``assets``.
        sources: files outside this package that its result depends on: functions of people's own.
        inputs: what it reads, if that is more than its windows in the lake; None where only reading can tell.
        beside: further tables that it makes in the same step.
        about: descriptions of its columns, by name, beyond what the specification says.
        shows: metadata that its rows tell by themselves, also of a month that is skipped.
        chosen_kinds: kinds beside ``kinds`` that the specification decides.
        repeats_words: whether its result repeats what the specification says for people, descriptions and owners.
        intact: whether what a month's effect left outside the lake is still there, if it has one.
        guard: what surrounds its reading and making.
        claims: slots that it takes while it makes a month.
        takes_options: whether candidates and tuning, as a run may choose them, change its result.
        goes_last: whether steps that needn't come before it do so all the same, where the executor can choose.
    """

    name: str
    description: str
    kinds: frozenset[str]
    after: tuple[str, ...]
    checks: tuple[CheckPlan, ...]
    sections: tuple[str, ...]
    modules: tuple[str, ...]
    make: Callable[[Work], Made]
    sources: Callable[[PipelineSpec], Sequence[Path]] = lambda spec: ()
    inputs: Callable[[Pipeline, Month], dict[str, str | None]] | None = None
    beside: tuple[Beside, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    shows: Callable[[Pipeline, Month, pl.DataFrame], Mapping[str, Any]] | None = None
    intact: Callable[[Pipeline, MonthRecord], bool] = lambda pipeline, record: True
    guard: Callable[[Work], Guard] = lambda work: Guard()
    claims: Callable[[Work], tuple[Claim, ...]] = lambda work: ()
    takes_options: bool = False
    tracked: bool = False
    chosen_kinds: Callable[[PipelineSpec], frozenset[str]] = lambda spec: frozenset()
    repeats_words: bool = False
    goes_last: bool = False

    def code(self, pipeline: Pipeline) -> str:
        """A hash of the code and the parts of the specification that the stage's result depends on."""
        spec = {path: self._meaning(reduce(getattr, path.split("."), pipeline.spec)) for path in self.sections}
        modules = (f"assets/{self.name}.py", *self.modules, *map(str, self.sources(pipeline.spec)))
        return json_hash({"spec": spec, "modules": [source_hash(m) for m in modules]})[:12]

    def _meaning(self, section: Any) -> Any:
        """A part of the specification, as far as the stage's result depends on it."""
        if isinstance(section, SpecModel):
            words = () if self.repeats_words else ("description", "owner", "when_missing")
            return {n: self._meaning(getattr(section, n)) for n in type(section).model_fields if n not in words}
        if isinstance(section, list):
            return [self._meaning(one) for one in section]
        return to_jsonable_python(section)

    def read(self, pipeline: Pipeline, month: Month) -> dict[str, str | None]:
        """What the stage would read now: name -> content."""
        return self.inputs(pipeline, month) if self.inputs else {**pipeline.inputs(self.name, month)}

    @property
    def tables(self) -> tuple[str, ...]:
        """The assets that its step makes."""
        return (self.name, *(b.name for b in self.beside))

    def planned(self, spec: PipelineSpec) -> list[CheckPlan]:
        """The checks that a pipeline wants."""
        return [c for c in self.checks if c.severity(spec) != "off"]


@cache
def source_hash(module: str) -> str:
    """A hash of a source file, or of all source files of a folder, of this package."""
    path = PACKAGE / module
    digest = blake2b(digest_size=8)
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        digest.update(file.read_bytes())
    return digest.hexdigest()
