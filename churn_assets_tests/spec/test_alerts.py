from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from churn_assets.spec import KINDS
from churn_assets.spec.alerts import EmailSpec, WebhookSpec
from churn_assets.store.specifications import dumped
from churn_assets_tests.declared import declared

HOOK = {"type": "webhook", "url": "{{ env.HOOK }}"}
MAIL = {"type": "email", "host": "smtp.example.com", "from": "churn@example.com", "to": ["ann@example.com"]}


def test_without_a_section_everything_goes_to_a_file() -> None:
    [channel] = declared().alerts.channels
    assert (channel.type, channel.name, channel.kinds) == ("file", "file", list(KINDS))


def test_channels_are_told_apart_and_may_be_told_of_some_kinds_only() -> None:
    alerts = declared(alerts={"channels": [HOOK, {**HOOK, "name": "night", "kinds": ["run_failed"]}, MAIL]}).alerts
    assert [c.name for c in alerts.channels] == ["webhook", "night", "email"]
    hook, night, mail = alerts.channels
    assert isinstance(hook, WebhookSpec)
    assert night.kinds == ["run_failed"]
    assert isinstance(mail, EmailSpec)
    assert (mail.sender, mail.security, mail.port) == ("churn@example.com", "starttls", 0)


def test_a_specification_that_was_kept_reads_the_same() -> None:
    spec = declared(alerts={"channels": [HOOK, MAIL, {"type": "file"}], "ui": "https://ui.example.com/"})
    assert spec.alerts.ui == "https://ui.example.com"
    assert type(spec).model_validate(dumped(spec)) == spec


@pytest.mark.parametrize(
    ("alerts", "told"),
    [
        ({"channels": [HOOK, HOOK]}, "webhook stands for two channels. Give one of them another 'name'"),
        ({"channels": []}, "at least 1 item"),
        ({"channels": [{"type": "slack", "url": "s3cret"}]}, "type 'slack' isn't known"),
        ({"channels": [{**HOOK, "url": "https://hooks.slack.com/s3cret"}]}, "url of webhook is a secret.*env.NAME"),
        ({"channels": [{**HOOK, "url": "s3cret"}]}, "begins with https:// or http://; found another text"),
        ({"channels": [{**HOOK, "urls": "s3cret"}]}, "Did you mean 'url'"),
        ({"channels": [{**HOOK, "kinds": ["failed"]}]}, "run_failed"),
        ({"channels": [{**MAIL, "password": "{{ env.P }}"}]}, "expected user and password, or neither"),
        ({"channels": [{**MAIL, "user": "u", "password": "s3cret"}]}, "password of email is a secret"),
        ({"channels": [{**MAIL, "to": ["ann@example.com, s3cret@example.com"]}]}, "expected plain addresses"),
        ({"channels": [{**MAIL, "from": "s3cret\nBcc: x@example.com"}]}, "expected plain addresses"),
        ({"channels": [{**MAIL, "host": "smtp://s3cret@host"}]}, "expected the name of a server"),
        ({"channels": "s3cret"}, "valid list"),
        ({"channel": "s3cret"}, "Did you mean 'channels'"),
        ({"ui": "dagster.example.com"}, "expected an address such as https://dagster.example.com"),
        ({"remind_hours": -1}, "greater than or equal to 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_without_secrets(alerts: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told) as error:
        declared(alerts=alerts)
    assert "s3cret" not in str(error.value) + repr(error.value.errors())


def test_names_of_secrets_are_not_shown_either() -> None:
    [hook] = declared(alerts={"channels": [HOOK]}).alerts.channels
    assert "HOOK" not in repr(hook)
