import pickle

import numpy as np

from churn_assets.learning.candidates import fit_candidate
from churn_assets_tests.learning.panels import FEATURES, FOREST, panel


def test_threads_change_neither_trees_nor_predictions() -> None:
    rows = panel(customers=1000)
    fits = []
    for threads in (1, 3):
        candidate = FOREST.model_copy(update={"params": {"n_jobs": threads}})
        learner, _ = fit_candidate(candidate, rows, rows["label"].to_numpy(), FEATURES, seed=0)
        assert learner.native[-1].n_jobs == 1
        fits.append(learner)
    assert np.array_equal(fits[0].log_odds(rows), fits[1].log_odds(rows))
    assert pickle.dumps(fits[0].native) == pickle.dumps(fits[1].native)
