from __future__ import annotations

import socket
from pathlib import Path

import pytest

from churn_assets.assets.tracking import reaching
from churn_assets.errors import TrackingError
from churn_assets.settings import Settings


@pytest.mark.slow
def test_a_server_that_is_away_may_come_back_by_itself_and_a_spoilt_store_wont(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as server:
        away = Settings(tmp_path, tmp_path, f"http://127.0.0.1:{server.getsockname()[1]}")
    spoilt = Settings(tmp_path, tmp_path)
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow/mlflow.db").write_bytes(b"no database" * 1000)
    for settings, transient in ((away, True), (spoilt, False)):
        with pytest.raises(TrackingError) as error, reaching(settings):
            mlflow.MlflowClient(settings.mlflow_uri).search_experiments(max_results=1)
        assert error.value.transient == transient
