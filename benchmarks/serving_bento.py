"""The same model behind BentoML, as short as its users write it; see serving.py."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Labels:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api
    def invocations(self, rows: list[list[float]]) -> list[int]:
        labels: list[int] = self.model.predict(np.array(rows)).tolist()
        return labels
