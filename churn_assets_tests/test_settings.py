from pathlib import Path

import pytest

from churn_assets.errors import SettingsError
from churn_assets.settings import PACKAGE, Settings, checkout


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHURN_DATA", raising=False)
    monkeypatch.delenv("CHURN_DEFS", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_without_variables_the_checkouts_own_folders_are_used() -> None:
    settings = Settings.from_environment()
    assert settings == Settings(data=checkout() / "data", defs=PACKAGE / "defs")


def test_variables_move_the_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    monkeypatch.setenv("CHURN_DATA", "elsewhere")
    monkeypatch.setenv("CHURN_DEFS", "pipelines")
    assert Settings.from_environment() == Settings(data=tmp_path / "elsewhere", defs=tmp_path / "pipelines")
    monkeypatch.setenv("CHURN_DATA", "~/x")
    assert Settings.from_environment().data == (Path.home() / "x").resolve()


def test_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_DATA", "s3://bucket/data")
    with pytest.raises(
        SettingsError, match="CHURN_DATA: expected a folder's path, found the address 's3://bucket/data'"
    ):
        Settings.from_environment()


def test_a_file_is_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for variable in ("CHURN_DATA", "CHURN_DEFS"):
        with monkeypatch.context() as set_one:
            set_one.setenv(variable, str(tmp_path / "file"))
            with pytest.raises(SettingsError, match=f"{variable}: expected a folder"):
                Settings.from_environment()
    monkeypatch.setenv("CHURN_DEFS", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="found nothing at"):
        Settings.from_environment()


def test_a_path_that_delta_would_misread_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHURN_DATA", str(tmp_path / "data [1]"))
    with pytest.raises(SettingsError, match=r"expected a path without \[ \], found"):
        Settings.from_environment()


def test_pipelines_share_no_folder() -> None:
    settings = Settings(data=Path("/data"), defs=PACKAGE / "defs")
    for place in (settings.lake, settings.exports, settings.online):
        assert place("a") != place("b")
        assert place("a").is_relative_to("/data")
    assert settings.mlflow_uri == "sqlite:////data/mlflow/mlflow.db"
    assert settings.mlflow_artifacts == Path("/data/mlflow/artifacts")


def test_an_mlflow_server_takes_the_place_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example:5000")
    assert Settings.from_environment().mlflow_uri == "https://mlflow.example:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
    with pytest.raises(
        SettingsError, match=r"expected the address of an MLflow server.*found 'sqlite:///elsewhere.db'"
    ):
        Settings.from_environment()
