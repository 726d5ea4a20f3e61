"""Save the model in MLflow's form; its own command serves it. See serving.py."""

import os
import sys

import joblib
import mlflow.sklearn

if __name__ == "__main__":
    mlflow.sklearn.save_model(
        joblib.load(os.environ["BENCH_MODEL"]), sys.argv[1], serialization_format="pickle"
    )
