import pytest

from churn_assets.store.online.servers import refusal, shown


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:s3cret@host:6379/0", "redis://host:6379/0"),
        ("rediss://s3cret@host", "rediss://host"),
        ("unix:///run/redis.sock?password=s3cret", "unix:///run/redis.sock"),
        ("postgresql://app:s3cret@one:5432,two:5432/name?sslpassword=s3cret", "postgresql://one:5432,two:5432/name"),
        ("postgresql:///name?host=/run", "postgresql:///name"),
    ],
)
def test_an_address_is_shown_without_who_may_use_it(url: str, told: str) -> None:
    assert shown(url) == told


@pytest.mark.parametrize(
    "url",
    ["redis://:s3c%2Fret@host", "postgresql://app:s3c%2Fret@host/name", "unix:///redis.sock?password=s3c%2Fret"],
)
def test_a_password_that_a_driver_tells_is_hidden(url: str) -> None:
    told = str(refusal(shown(url), RuntimeError(f"can't use {url} with s3c/ret"), url))
    assert "s3c/ret" not in told and "s3c%2Fret" not in told
    assert "with ***" in told
