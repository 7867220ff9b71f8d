from typing import Any

import pytest
from pydantic import ValidationError

from churn_assets.spec import EngineSpec, OnlineSpec, PipelineSpec
from churn_assets_tests.declared import COLUMNS, declared, document


def test_an_engine_is_declared_by_its_name_or_with_its_settings() -> None:
    assert declared().engine.kind == "polars"
    assert declared(engine="spark").engine == EngineSpec(kind="spark")
    settings = {"spark.executor.memory": "8g", "spark.executor.cores": 4}
    given = declared(engine={"kind": "spark", "master": "yarn", "settings": settings, "workers": 8}).engine
    assert (given.master, given.workers, given.settings["spark.executor.cores"]) == ("yarn", 8, "4")


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("dask", "'polars' or 'spark'"),
        ({"kind": "spark", "masters": "yarn"}, "Did you mean 'master'"),
        ({"kind": "polars", "workers": 3, "master": "yarn"}, "master, workers is for kind spark, found kind polars"),
        ({"kind": "spark", "master": "sc://host"}, "Spark Connect can't train XGBoost"),
        ({"kind": "spark", "workers": 0}, "greater than or equal to 1"),
    ],
)
def test_what_no_engine_takes_is_refused(engine: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        declared(engine=engine)


def test_names_that_spark_would_misread_are_refused_for_spark_alone() -> None:
    columns = [*COLUMNS, {"name": "data.gb", "type": "number"}]
    schema = {"key": "customer_id", "columns": columns}
    assert declared(schema=schema)
    with pytest.raises(ValidationError, match=r"found data\.gb\. Give a column another name"):
        declared(schema=schema, engine="spark")


class TestOnline:
    @pytest.mark.parametrize(
        "url",
        ["redis://:pass%2Fword@host:6379/0", "rediss://host", "unix:///run/redis.sock?db=1", "postgres://host/name",
         "postgresql://user:pass:word@one:5432,two:5432/name?sslmode=require", "{{ env.ONLINE_STORE }}"],
    )  # fmt: skip
    def test_servers_are_named_by_their_address(self, url: str) -> None:
        given = OnlineSpec(url=url)
        assert given.url == url
        assert url not in repr(given)

    @pytest.mark.parametrize(
        ("given", "found"),
        [({"url": "mysql://app:s3cret@host"}, "expected redis://.*postgres://; found mysql://"),
         ({"url": "s3cret"}, "found a text without ://"),
         ({"url": "redis://:s3c/ret@host"}, "its user or password has one of .* Write them as %2F"),
         ({"address": "redis://:s3cret@host"}, "unknown key 'address'"),
         ({"url": "redis://:s3cret@host", "attempts": 0}, "greater than or equal to 1"),
         ("redis://:s3cret@host", "valid dictionary")],
    )  # fmt: skip
    def test_a_finding_never_shows_the_address(self, given: Any, found: str) -> None:
        with pytest.raises(ValidationError, match=found) as error:
            OnlineSpec.model_validate(given)
        assert "s3c" not in str(error.value) + repr(error.value.errors())
        with pytest.raises(ValidationError, match=found) as error:
            PipelineSpec.model_validate(document(online=given))
        assert "s3c" not in str(error.value) + repr(error.value.errors())
