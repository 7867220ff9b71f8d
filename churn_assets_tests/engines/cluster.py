"""A small cluster for tests: a master and two executors, each a process of its own."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Any

import pytest

_SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Compiling once, and quickly, takes half of the processor's time in a test."""

CLUSTER: dict[str, Any] = {
    "kind": "spark",
    "master": "local-cluster[2,1,1024]",
    "settings": {
        "spark.driver.extraJavaOptions": _SHORT_LIVED,
        "spark.executor.extraJavaOptions": _SHORT_LIVED,
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
    },
    "workers": 2,
}

_MISSING = [
    what
    for what, there in {
        "pyspark (pip install 'churn-assets[spark]')": find_spec("pyspark"),
        "java (a JRE of 17 or later)": os.environ.get("JAVA_HOME") or shutil.which("java"),
    }.items()
    if not there
]
needs_spark = pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {' and '.join(_MISSING)}")
