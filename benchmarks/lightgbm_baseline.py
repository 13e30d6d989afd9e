"""What gradient-boosted trees make of the same view: the bar that the network is held against.

A development script: LightGBM is no dependency of the product.
"""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np

from console import say, stage
from training.data import Examples, View, Vocabularies
from training.evaluate import Scores, scores

MIN_CATEGORY_ROWS = 50
ROUNDS = 2000
PATIENCE = 100
PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.03,
    "num_leaves": 63,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "seed": 0,
    "num_threads": 0,
    "verbosity": -1,
}


def lightgbm_scores(view: View) -> Scores:
    """Train on the view's training split, stop on validation log-loss, score the test split."""
    vocabularies = Vocabularies.of(view.contract, MIN_CATEGORY_ROWS)
    train, validation, test = (view.examples(split, vocabularies) for split in ("train", "validation", "test"))
    categorical = list(range(train.numeric.shape[1], train.numeric.shape[1] + train.categories.shape[1]))
    data = lightgbm.Dataset(_matrix(train), train.label, categorical_feature=categorical)
    booster = lightgbm.train(
        PARAMETERS,
        data,
        num_boost_round=ROUNDS,
        valid_sets=[lightgbm.Dataset(_matrix(validation), validation.label, reference=data)],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    probability = np.asarray(booster.predict(_matrix(test), num_iteration=booster.best_iteration))
    return scores(test.label, probability)


def run(view_folder: Path) -> None:
    view = View.open(view_folder)
    with stage(f"LightGBM on {view_folder}") as step:
        step.detail = str(lightgbm_scores(view))
    say(f"{len(view.contract.features)} features, {view.contract.splits['test'].rows:,} test rows")


def _matrix(examples: Examples) -> np.ndarray:
    return np.hstack([examples.numeric, examples.categories])
