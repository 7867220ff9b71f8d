"""The same rows give the same models, byte for byte, in any process and on any number of threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HASHES = """
import json
from hashlib import sha256
from importlib.util import find_spec
from churn_assets.learning.training import dump, train
from churn_assets.spec.learning import CandidateSpec
from churn_assets_tests.learning.panels import FEATURES, panel

rows = panel(customers=1000, months=5, seed=4)
candidates = [CandidateSpec(name=kind, kind=kind) for kind in ("logistic", "random_forest", "xgboost")]
if find_spec("lightgbm"):
    candidates.append(CandidateSpec(name="lightgbm", kind="estimator", path="lightgbm.LGBMClassifier"))
models = train(rows, FEATURES, candidates, seed=3).models
head = rows.head(20)
made = {n: (dump(m), m.predict(rows).tobytes(), m.contributions(head).tobytes()) for n, m in models.items()}
print(json.dumps({name: [sha256(one).hexdigest() for one in parts] for name, parts in made.items()}))
"""


def hashes(threads: int) -> dict[str, list[str]]:
    """Hashes of each model's bytes, probabilities and contributions, made by a process of its own."""
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "LOKY_MAX_CPU_COUNT")
    environment = {**os.environ, **dict.fromkeys(limits, str(threads)), "PYTHONHASHSEED": str(threads)}
    ran = subprocess.run([sys.executable, "-c", HASHES], env=environment, capture_output=True, text=True, check=True)
    made: dict[str, list[str]] = json.loads(ran.stdout)
    return made


@pytest.mark.slow
def test_one_and_two_threads_make_the_same_models_byte_for_byte() -> None:
    one = hashes(1)
    assert {"logistic", "random_forest", "xgboost"} <= set(one)
    assert one == hashes(2)
