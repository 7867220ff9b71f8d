"""Making a dataset, its model and its predictions again from what was received, and comparing them bit for bit.

The stages themselves run in a lake of its own that holds nothing but what was received and what people have entered, as
it was then, each month by the specification that made it then. Models are trained again, those of earlier champions
included. Two things are taken as recorded, because they would need every earlier month to be run: which model was the
champion before the month, and what became of earlier months' lists. So are the parameters that a search has found: it
may have ended when its time did.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import dagster as dg

from churn_assets.assets import ALL
from churn_assets.assets.options import RunOptions
from churn_assets.assets.stage import Listener
from churn_assets.errors import LakeError
from churn_assets.learning.training import load
from churn_assets.learning.tuning import hand_over
from churn_assets.months import Month
from churn_assets.pipeline import TRAINING_ORDERS, Pipeline
from churn_assets.rebuilding import NOTHING, Compared, Rebuilding, Stopped, stage_of
from churn_assets.store.datasets import MADE, Manifest, closure, installed, version_of
from churn_assets.store.lake import MonthRecord


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Attributes:
        compared: everything that was made again, in the order in which it was.
        doubts: why a difference would be no surprise, and what wasn't compared; one sentence each.
    """

    version: str
    compared: tuple[Compared, ...]
    doubts: tuple[str, ...]

    @property
    def different(self) -> tuple[Compared, ...]:
        """What didn't come out as recorded."""
        return tuple(c for c in self.compared if not c.equal)


def replay(pipeline: Pipeline, manifest: Manifest, into: Path, listener: Listener | None = None) -> Replay:
    """Makes everything again in the empty folder ``into``, and compares it.

    Raises:
        LakeError: ``into`` isn't empty, what was received then is gone, or a model that is needed.
    """
    if into.exists() and any(into.iterdir()):
        raise LakeError(f"{into}: expected an empty folder or none, found files in it. Give another folder.")
    if gone := lost(pipeline, manifest):
        raise LakeError(
            f"dataset {manifest.id}: expected {', '.join(gone[:6])}{' and more' if len(gone) > 6 else ''} as it was "
            "then, found that version is gone. Restore the lake's files; without them it can't be made again."
        )
    into.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), dg.DagsterInstance.ephemeral() as instance:
        warnings.simplefilter("ignore")
        again = Rebuilding(pipeline, into, instance, listener)
        again.doubts |= dict.fromkeys(_other_libraries(manifest))
        with suppress(Stopped):
            _everything(again, manifest)
    return Replay(manifest.id, tuple(again.compared.values()), tuple(again.doubts))


def lost(pipeline: Pipeline, manifest: Manifest) -> list[str]:
    """What was received or entered for a dataset and isn't there any more."""
    found = []
    for one in manifest.inputs:
        record = version_of(pipeline.lake, one.table, Month.parse(one.month), one.content)
        files = record.files if record and one.table not in MADE else ()
        if record is None or not all((pipeline.lake.root / one.table / file).exists() for file in files):
            found.append(one.name)
    return found


def made_by_other_code(pipeline: Pipeline, manifest: Manifest) -> list[str]:
    """The stages whose present code, by the specifications of then, isn't that which made the dataset."""
    made = {("versioned_dataset", manifest.spec): manifest.code}
    made |= {(stage_of(t.table).name, t.spec or manifest.spec): t.code for t in manifest.inputs if t.table in MADE}
    specs = {spec: Pipeline(pipeline.specifications.get(spec), pipeline.settings) for _, spec in made}
    return sorted({stage for (stage, spec), code in made.items() if ALL[stage].code(specs[spec]) != code})


def _everything(again: Rebuilding, manifest: Manifest) -> None:
    """The champions that the month needs, its dataset, its model, its predictions and its list."""
    month = Month.parse(manifest.month)
    recorded = _model_of(again.origin, manifest)
    if recorded is None:
        again.doubts[f"No model of {month} that learned from it is recorded: only the dataset was made again."] = None
        _dataset(again, manifest)
        return
    decision = _newest(again, "promotions", month, lambda r: r.fingerprint == recorded.fingerprint)
    before = _known(recorded.inputs.get(f"promotions {month - 1}"))
    after = _known(str(decision.facts.get("champion"))) if decision else None
    scored = _scored(again, month, after)
    models = {before, after, *(_challengers(scored) if scored else ())}
    for model_id in sorted(models - {None, recorded.facts.get("model_id")}, key=str):
        _champion(again, str(model_id))
    _dataset(again, manifest)
    _model(again, manifest, recorded, before)
    _scores(again, month, scored)


def _model_of(pipeline: Pipeline, manifest: Manifest) -> MonthRecord | None:
    """The newest record of the model stage that learned from a dataset."""
    read = f"versioned_dataset {manifest.month}"
    for record in reversed(pipeline.lake.history("model", Month.parse(manifest.month))):
        if record.inputs.get(read) == manifest.content and record.facts.get("dataset", manifest.id) == manifest.id:
            return record
    return None


def _dataset(again: Rebuilding, manifest: Manifest) -> None:
    """The dataset, and all that it was made from."""
    month = Month.parse(manifest.month)
    again.ensure(manifest.reads, manifest.inputs, manifest.spec)
    made = again.run("versioned_dataset", month, manifest.spec, manifest.code, manifest.content)
    again.compare(f"versioned_dataset {month}", manifest.content, made.content)
    again.compare(f"dataset version of {month}", manifest.id, str(made.facts.get("id", NOTHING)))


def _champion(again: Rebuilding, model_id: str) -> None:
    """A model that scored the customers, or scored them in the shadow. What was decided on it doesn't matter here."""
    facts = again.origin.models.facts(model_id)
    manifest, month = again.origin.datasets.get(str(facts["dataset"])), Month.parse(str(facts["month"]))
    _dataset(again, manifest)
    again.decide(month - 1, None)
    recorded = _newest(again, "model", month, lambda r: r.facts.get("model_id") == model_id)
    spec, code = (_spec(recorded) or manifest.spec, recorded.code) if recorded else (manifest.spec, "")
    if recorded:
        # An order decides which candidates were searched for parameters.
        ordered = {name: at for name, at in recorded.inputs.items() if name == f"{TRAINING_ORDERS} {month}"}
        again.ensure(ordered, closure(again.origin.lake, ordered), spec)
    hand_over(again.here.searches, month, recorded.facts.get("tuned", {}) if recorded else {})
    made = again.run("model", month, spec, code, model_id, _options(recorded) if recorded else None)
    _compare_artefacts(again, manifest, model_id, made)
    trained, shelf = made.facts.get("model_id"), again.here.models
    if trained and trained != model_id:
        # Other code gives its models other names; the months behind look for the recorded one.
        shelf.put(model_id, shelf.artefact(trained), shelf.facts(trained))


def _model(again: Rebuilding, manifest: Manifest, recorded: MonthRecord, before: str | None) -> None:
    """The month's model, what it was judged to be, and what was decided."""
    month = Month.parse(manifest.month)
    entered = _entered(recorded, but=("versioned_dataset", *MADE))
    again.ensure(entered, closure(again.origin.lake, entered), manifest.spec)
    again.decide(month - 1, before)
    hand_over(again.here.searches, month, recorded.facts.get("tuned", {}))
    spec = _spec(recorded) or manifest.spec
    made = again.run("model", month, spec, recorded.code, recorded.content, _options(recorded))
    if model_id := recorded.facts.get("model_id"):
        _compare_artefacts(again, manifest, str(model_id), made)
    _compare_tables(again, recorded)


def _scored(again: Rebuilding, month: Month, champion: str | None) -> MonthRecord | None:
    """The newest record of a month's predictions by a champion."""
    return _newest(again, "predictions", month, lambda r: _known(r.inputs.get(f"promotions {month}")) == champion)


def _challengers(scored: MonthRecord) -> list[str]:
    """The model that scored in the shadow beside the champion, if one did."""
    return [model_id for name, model_id in scored.inputs.items() if name.startswith("model ")]


def _scores(again: Rebuilding, month: Month, scored: MonthRecord | None) -> None:
    """The month's predictions by its champion, and the list that was made of them."""
    if scored is None:
        again.doubts[f"No predictions of {month} by its champion are recorded: none were made again."] = None
        return
    _following(again, scored)
    listed = _newest(again, "retention_list", month, lambda r: r.inputs.get(f"predictions {month}") == scored.content)
    if listed:
        for earlier in again.origin.calendar.window("retention_list", month, "list_outcomes"):
            there = f"list_outcomes {earlier}" in listed.inputs
            again.decide(earlier, "as recorded" if there else None)
        _following(again, listed)


def _following(again: Rebuilding, recorded: MonthRecord) -> None:
    """A stage behind the model, with what it reads besides."""
    read = _entered(recorded, but=("predictions",))
    again.ensure(read, closure(again.origin.lake, read), _spec(recorded))
    again.run(recorded.table, Month.parse(recorded.month), _spec(recorded), recorded.code, recorded.content)
    _compare_tables(again, recorded)


def _compare_tables(again: Rebuilding, recorded: MonthRecord) -> None:
    """Compares all tables that one run of a stage has made, a decision included."""
    month = Month.parse(recorded.month)
    for table in {**dict.fromkeys(ALL[recorded.table].tables), "promotions": None}:
        if first := _newest(again, table, month, lambda r: r.fingerprint == recorded.fingerprint):
            again.compare(f"{table} {month}", first.content, again.content(table, month))


def _compare_artefacts(again: Rebuilding, manifest: Manifest, model_id: str, made: MonthRecord) -> None:
    """Compares a model's bytes; of a library's own estimator that differs in them, what it computes."""
    trained, shelf = str(made.facts.get("model_id", "")), again.here.models
    recorded = again.origin.models.artefact(model_id)
    rebuilt = shelf.artefact(trained) if trained and shelf.has(trained) else b""
    if rebuilt and recorded != rebuilt and (first := load(recorded)).kind == "estimator":
        month = Month.parse(manifest.split["validate"][-1])
        judges = again.lake.record("features", month)
        assert judges is not None
        rows = again.lake.scan_record(judges).collect()
        hashes = [_hash(model.predict(rows).tobytes()) for model in (first, load(rebuilt))]
        again.compare(f"scores of {month} by {model_id}", hashes[0], hashes[1])
        again.doubts[
            f"The file of {model_id} differs, as some libraries put a random id, the time or the number of threads "
            f"into theirs: its scores of {len(rows):,} customers were compared instead."
        ] = None
    else:
        again.compare(f"artefact of {model_id}", _hash(recorded), _hash(rebuilt) if rebuilt else NOTHING)


def _newest(again: Rebuilding, table: str, month: Month, wanted: Callable[[MonthRecord], bool]) -> MonthRecord | None:
    return next((r for r in reversed(again.origin.lake.history(table, month)) if wanted(r)), None)


def _entered(recorded: MonthRecord, but: Iterable[str]) -> dict[str, str]:
    """What a month was made from, without decisions, models and the tables in ``but``."""
    left_out = {"promotions", "model", *but}
    return {name: content for name, content in recorded.inputs.items() if name.partition(" ")[0] not in left_out}


def _known(champion: str | None) -> str | None:
    """A champion's id as inputs name it; there, None is a text."""
    return None if champion in (None, "None") else champion


def _spec(recorded: MonthRecord) -> str:
    return str(recorded.facts.get("spec", ""))


def _options(recorded: MonthRecord) -> RunOptions:
    """What the run that made the month was asked for; whatever stands there, it is made again."""
    return RunOptions(force="model", **recorded.facts.get("options", {}))


def _hash(artefact: bytes) -> str:
    return blake2b(artefact, digest_size=16).hexdigest()


def _other_libraries(manifest: Manifest) -> Iterable[str]:
    now = installed()
    for name in sorted({*manifest.libraries, *now}):
        then = manifest.libraries.get(name, "none")
        if then != now.get(name, "none"):
            yield f"Made with {name} {then}, now it is {now.get(name, 'none')}: a difference is to be expected."
