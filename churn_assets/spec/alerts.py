"""The section about alerts: who is told of what goes wrong, or waits for a person, and by which way."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails

from churn_assets.spec.base import SpecModel
from churn_assets.spec.environment import names_environment

Kind = Literal[
    "run_failed", "late_data", "columns_broken", "promotion_blocked", "challenger_waits", "quality_fell",
    "retrain_wanted", "source_unreachable", "incoming_refused",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What is told of, in the order in which it is shown."""


class ChannelSpec(SpecModel):
    """What every way of telling people has in common."""

    name: str = Field("", pattern=r"^[a-z0-9_-]*$", description="Its name among the channels; its type if not given.")
    kinds: list[Kind] = Field(list(KINDS), min_length=1, description="What it is told of; everything if not given.")


class WebhookSpec(ChannelSpec):
    """A message to a webhook that takes Slack's: Slack's own, Mattermost's, or Discord's that ends with /slack."""

    type: Literal["webhook"]
    url: str = Field(description="Its address, which is a secret: {{ env.NAME }}.", repr=False)

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        # What the environment gives is looked at once it is there.
        if not names_environment(url) and not url.startswith(("https://", "http://")):
            raise ValueError("expected an address that begins with https:// or http://; found another text.")
        return url


class EmailSpec(ChannelSpec):
    """A mail in plain text."""

    type: Literal["email"]
    host: str = Field(description="The server that takes mail, such as smtp.example.com.")
    port: int = Field(0, ge=0, le=65535, description="Its port; 587 with starttls, 465 with ssl, 25 with none if 0.")
    security: Literal["starttls", "ssl", "none"] = Field("starttls", description="How the connection is protected.")
    user: str | None = Field(None, description="Who signs in; nobody if not given.", repr=False)
    password: str | None = Field(None, description="The password: {{ env.NAME }}.", repr=False)
    sender: str = Field(alias="from", description="The sender's address.")
    to: list[str] = Field(min_length=1, description="The receivers' addresses.")

    @field_validator("host")
    @classmethod
    def _server(cls, host: str) -> str:
        if not names_environment(host) and (not host or set(" /@:") & set(host)):
            raise ValueError("expected the name of a server, such as smtp.example.com; found another text.")
        return host

    @field_validator("sender", "to")
    @classmethod
    def _addresses(cls, given: Any, info: ValidationInfo) -> Any:
        for address in [given] if isinstance(given, str) else given:
            local, _, domain = address.partition("@")
            plain = local and domain and not set(" ,;<>\r\n@") & set(f"{local}{domain}")
            if not plain and not names_environment(address):
                raise ValueError("expected plain addresses such as churn@example.com; found another text.")
        return given

    @model_validator(mode="after")
    def _signs_in_as_a_whole(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("expected user and password, or neither; found one of them.")
        return self


class FileSpec(ChannelSpec):
    """A line of JSON for each message, at the end of a file."""

    type: Literal["file"]
    path: str = Field(
        "", description="The file; relative ones begin at the data folder. alerts/<pipeline>.jsonl there if not given."
    )


Channel = Annotated[WebhookSpec | EmailSpec | FileSpec, Field(discriminator="type")]


class AlertsSpec(SpecModel):
    """Who is told of what. Without this section everything is written to a file, data/alerts/<pipeline>.jsonl."""

    channels: list[Channel] = Field([FileSpec(type="file")], min_length=1, description="The ways by which it is told.")
    remind_hours: float = Field(
        24, ge=0, description="Hours after which a matter that goes on is told of again; 0: never."
    )
    ui: str = Field("http://127.0.0.1:3000", description="Address of Dagster's UI, for the links.")

    @field_validator("channels")
    @classmethod
    def _told_apart(cls, channels: list[WebhookSpec | EmailSpec | FileSpec]) -> list[Any]:
        names = [channel.name or channel.type for channel in channels]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} stands for two channels. Give one of them another 'name'.")
        for channel in channels:
            for key in ("url", "password"):
                if (secret := getattr(channel, key, None)) and not names_environment(secret):
                    raise ValueError(
                        f"{key} of {channel.name or channel.type} is a secret, which a specification doesn't hold. Set "
                        f'an environment variable to it, and write {key}: "{{{{ env.NAME }}}}".'
                    )
        return [channel.model_copy(update={"name": name}) for channel, name in zip(channels, names, strict=True)]

    @field_validator("ui")
    @classmethod
    def _reachable(cls, ui: str) -> str:
        if not ui.startswith(("https://", "http://")):
            raise ValueError(f"expected an address such as https://dagster.example.com, found {ui!r}.")
        return ui.rstrip("/")

    @classmethod
    def _reworded(cls, error: ErrorDetails) -> InitErrorDetails:
        # Pydantic shows what it was given, and that may be a secret.
        return {**super()._reworded(error), "input": None}
