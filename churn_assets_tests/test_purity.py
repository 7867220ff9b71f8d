"""The pure packages never load what runs, tracks or serves them, so that they can be used and tested alone."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import churn_assets

ROOT = Path(churn_assets.__file__).parent
PURE = ("spec", "months", "sources", "quality", "features", "store", "learning", "retention", "monitoring",
        "proposal", "engines", "markdown", "alerts")  # fmt: skip
IMPURE = {"dagster", "dagster_mlflow", "mlflow", "fastapi"}
OPTIONAL = {"pyspark", "py4j"}
INSIDE = {f"churn_assets.{name}" for name in ("errors", "processes", *PURE)}


def files() -> list[Path]:
    found = [ROOT / f"{name}.py" for name in PURE] + [f for name in PURE for f in (ROOT / name).rglob("*.py")]
    return sorted(f for f in found if f.exists())


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("file", files(), ids=module)
def test_no_file_imports_what_runs_tracks_or_serves(file: Path) -> None:
    names = set(imported(file))
    assert not {n for n in names if n.split(".")[0] in IMPURE}
    own = {".".join(n.split(".")[:2]) for n in names if n.startswith("churn_assets.")}
    assert own <= INSIDE, "a pure package knows pure packages only"


def test_importing_them_all_loads_none_of_it() -> None:
    modules = [module(f) for f in files()]
    assert len(modules) > 30
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(sorted({{m.split('.')[0] for m in sys.modules}} & {IMPURE | OPTIONAL!r}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
