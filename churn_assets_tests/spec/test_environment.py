from __future__ import annotations

import pytest

from churn_assets.errors import SpecError
from churn_assets.spec import OnlineSpec
from churn_assets.spec.environment import with_environment
from churn_assets.spec.source import HttpSourceSpec

URL = "https://api.example.com/customers?month={month}"


@pytest.mark.parametrize("written", ["{{ env.TOKEN }}", "{{env.TOKEN}}", "{{ env('TOKEN') }}", '{{ env("TOKEN") }}'])
def test_a_name_is_replaced_wherever_it_stands(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    given = HttpSourceSpec(type="http", url=URL, token=written, headers={"X-Key": f"key {written}"})
    found = with_environment(given, "source")
    assert (found.token, found.headers, found.url) == ("s3cret", {"X-Key": "key s3cret"}, URL)


def test_what_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    with pytest.raises(SpecError, match="mine: source: expected the environment variable KEY, TOKEN"):
        with_environment(
            HttpSourceSpec(type="http", url=URL, token="{{ env.TOKEN }}", headers={"X": "{{ env.KEY }}"}),
            "mine: source",
        )


def test_a_value_that_doesnt_fit_is_told_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE", "mysql://app:s3cret@host/online")
    told = r"mine: online, with what the environment gives: url: .*found mysql://"
    with pytest.raises(SpecError, match=told) as error:
        with_environment(OnlineSpec(url="{{ env.STORE }}"), "mine: online")
    assert "s3cret" not in str(error.value)
