"""The same model behind Ray Serve, as short as its users write it; see serving.py."""

import os
import signal
import sys
from typing import Any

import joblib
import numpy as np
import ray
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=64)
class Labels:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"])

    async def __call__(self, request: Any) -> dict[str, Any]:
        rows = np.array((await request.json())["rows"])
        return {"labels": self.model.predict(rows).tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Labels.bind(), route_prefix="/invocations")
    signal.pause()
