from __future__ import annotations

import re
from pathlib import Path

import pytest

from churn_assets.spec.functions import load_function, source_of
from churn_assets_tests.features import own_functions

HERE = "churn_assets_tests.features.own_functions"


def test_a_function_is_found_by_module_and_name() -> None:
    assert load_function(f"{HERE}:spread") is own_functions.spread
    assert source_of(f"{HERE}:spread") == Path(own_functions.__file__)


def test_the_source_is_that_of_the_function_and_not_of_what_wraps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrapping_own.py").write_text(
        f"import functools\nfrom {HERE} import spread\n"
        "@functools.wraps(spread)\ndef wrapped(frame):\n    return spread(frame)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert source_of("wrapping_own:wrapped") == Path(own_functions.__file__)


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("spread", "expected package.module:function, found 'spread'"),
        (f"{HERE}.spread", "expected package.module:function"),
        (f"{HERE}:a.b", "expected package.module:function"),
        (f"{HERE}:", "expected package.module:function"),
        ("not_installed.features:f", "can be imported, found ModuleNotFoundError: No module named 'not_installed'"),
        (f"{HERE}:sprad", f"expected a function 'sprad' in {HERE}, found none. Did you mean 'spread'?"),
        (f"{HERE}:Frame", "expected a function 'Frame'"),
        ("math:sqrt", "expected a function 'sqrt' in math"),
    ],
)
def test_what_names_no_function_of_python_is_told(reference: str, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        load_function(reference)


def test_a_module_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_own.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="a module broken_own that can be imported, found ZeroDivisionError"):
        load_function("broken_own:f")
