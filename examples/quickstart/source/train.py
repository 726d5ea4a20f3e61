"""Predict a flat's rent: what the training job runs, and the endpoint after it.

As on SageMaker: hyperparameters come as options, channels and the model's folder by variables.
"""

import argparse
import os
import shutil

import joblib
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler


def model_fn(model_dir):
    """Load the model; the endpoint calls this once."""
    return joblib.load(os.path.join(model_dir, "model.joblib"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--alpha", type=float, default=1.0)
    arguments = parser.parse_args()

    rows = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "train.csv"), delimiter=",")
    rents, flats = rows[:, 0], rows[:, 1:]
    kept = len(rows) * 4 // 5
    model = make_pipeline(PolynomialFeatures(2), StandardScaler(), Ridge(alpha=arguments.alpha))
    model.fit(flats[:kept], rents[:kept])
    print(f"flats={kept} alpha={arguments.alpha}")
    print(f"validation r2: {model.score(flats[kept:], rents[kept:]):.4f}")
    folder = os.environ["SM_MODEL_DIR"]
    joblib.dump(model, os.path.join(folder, "model.joblib"))
    # With `model_fn` beside it the model can be served from its archive alone.
    os.makedirs(os.path.join(folder, "code"))
    shutil.copy(__file__, os.path.join(folder, "code", "train.py"))
