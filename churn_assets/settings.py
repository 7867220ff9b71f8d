"""Where an installation keeps its data, and which pipelines it deploys."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from churn_assets.errors import SettingsError

PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Settings:
    """The folders of one installation.

    Args:
        data: holds incoming files, the lake, the exports and MLflow's store (``CHURN_DATA``; by default ``data`` in
            the checkout, or in the working folder where the package is installed without one).
        defs: holds one folder a pipeline, each with its ``defs.yaml`` (``CHURN_DEFS``; by default the package's own).
        tracking: address of an MLflow server (``MLFLOW_TRACKING_URI``; by default a database in ``data``).
    """

    data: Path
    defs: Path
    tracking: str = ""

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings that the environment gives.

        Raises:
            SettingsError: a variable names something that can't be used.
        """
        data, defs = os.environ.get("CHURN_DATA", ""), os.environ.get("CHURN_DEFS", "")
        if "://" in data:
            raise SettingsError(f"CHURN_DATA: expected a folder's path, found the address {data!r}. Give a folder.")
        place = Path(data).expanduser().resolve() if data else checkout() / "data"
        if place.exists() and not place.is_dir():
            raise SettingsError(f"CHURN_DATA: expected a folder, found the file {place}. Give a folder.")
        if odd := sorted(set("[]%") & set(str(place))):
            # Delta Lake makes an address of the path and takes these for parts of it.
            raise SettingsError(
                f"CHURN_DATA: expected a path without {' '.join(odd)}, found {place}. Give another folder."
            )
        folder = Path(defs).expanduser().resolve() if defs else PACKAGE / "defs"
        if not folder.is_dir():
            raise SettingsError(f"CHURN_DEFS: expected a folder that holds pipelines, found nothing at {folder}.")
        tracking = os.environ.get("MLFLOW_TRACKING_URI", "")
        if tracking and not re.match(r"https?://.", tracking):
            raise SettingsError(
                f"MLFLOW_TRACKING_URI: expected the address of an MLflow server, such as http://host:5000, found "
                f"{tracking!r}. Give one, or unset it: MLflow's database is then in CHURN_DATA."
            )
        return cls(data=place, defs=folder, tracking=tracking)

    def lake(self, pipeline: str) -> Path:
        """Where a pipeline's tables are."""
        return self.data / "lake" / pipeline

    def exports(self, pipeline: str) -> Path:
        """Where a pipeline's lists are put for people and other systems."""
        return self.data / "exports" / pipeline

    def online(self, pipeline: str) -> Path:
        """The file of a pipeline's online store."""
        return self.data / "online" / f"{pipeline}.sqlite"

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking store and registry."""
        return self.tracking or f"sqlite:///{self.data / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_address(self) -> str:
        """The same for people, without a password that may stand in it."""
        return re.sub(r"//[^/@]*@", "//", self.mlflow_uri)

    @property
    def mlflow_artifacts(self) -> Path:
        """Where MLflow keeps models and plots, unless a server does."""
        return self.data / "mlflow" / "artifacts"


def checkout() -> Path:
    """The folder that holds ``dagster.yaml``: the checkout, or the working folder for an installed package."""
    return PACKAGE.parent if (PACKAGE.parent / "dagster.yaml").exists() else Path.cwd()
