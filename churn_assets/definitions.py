"""The one code location: every pipeline of the definitions folder, and the executor."""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import dagster as dg
from dagster.components.core.component_tree import ComponentTreeException
from pydantic import ValidationError

from churn_assets.component import ChurnPipeline
from churn_assets.errors import SpecError
from churn_assets.pipeline import Pipeline
from churn_assets.settings import PACKAGE, Settings

FOREIGN_DEFS = "churn_pipelines"


@dg.definitions
def defs() -> dg.Definitions:
    """All pipelines, each from its own folder; the steps of a run share one process, for starting one takes longer."""
    with warnings.catch_warnings():
        # Checks by partition and backfill policies are used knowingly; the range of Dagster's versions is pinned.
        for category in (dg.PreviewWarning, dg.BetaWarning):
            warnings.simplefilter("ignore", category)
        tree = component_tree(Settings.from_environment())
        return dg.Definitions.merge(tree.build_defs(), dg.Definitions(executor=dg.in_process_executor))


def component_tree(settings: Settings) -> dg.ComponentTree:
    """The components of the definitions folder."""
    return dg.ComponentTree.from_module(defs_module=_module(settings.defs), project_root=settings.defs)


def pipelines(settings: Settings) -> dict[str, Pipeline]:
    """Every pipeline that is deployed, by name.

    Raises:
        SpecError: a specification is wrong, with every finding; or two folders declare the same pipeline.
    """
    try:
        components = component_tree(settings).get_all_components(ChurnPipeline)
    except ComponentTreeException as error:
        raise _findings(settings, error) from error
    names = [c.name for c in components]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise SpecError(f"{settings.defs}: expected each pipeline once, found {', '.join(twice)} declared twice.")
    return {c.name: c.pipeline(settings) for c in components}


def _findings(settings: Settings, error: ComponentTreeException) -> SpecError:
    cause = error.__cause__
    found = re.match(r"Error while loading component ([^\[:]+)", str(error))
    place = settings.defs / found[1] / "defs.yaml" if found else settings.defs
    if not isinstance(cause, ValidationError):
        return SpecError(f"{place}: expected pipelines that load, found: {cause or error}")
    lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in cause.errors()]
    return SpecError("\n  ".join([f"{place}: {len(lines)} finding(s)", *lines]))


def _module(folder: Path) -> ModuleType:
    if folder == PACKAGE / "defs":
        return importlib.import_module("churn_assets.defs")
    spec = ModuleSpec(FOREIGN_DEFS, loader=None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    module = module_from_spec(spec)
    sys.modules[FOREIGN_DEFS] = module
    return module
