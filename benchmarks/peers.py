"""The same model behind FastAPI and behind granian, as short as users write it.

Both find the model by the environment variable BENCH_MODEL.
"""

import os
from typing import Any

import joblib
import numpy as np
import orjson
from fastapi import FastAPI

MODEL = joblib.load(os.environ["BENCH_MODEL"])
fast = FastAPI()


@fast.get("/ping")
def ping() -> str:
    return "ok"


@fast.post("/invocations")
def invocations(rows: list[list[float]]) -> list[int]:
    labels: list[int] = MODEL.predict(np.array(rows)).tolist()
    return labels


async def rsgi(scope: Any, protocol: Any) -> None:
    """granian's own interface, which costs it least."""
    rows = np.array(orjson.loads(await protocol()))
    headers = [("content-type", "application/json")]
    protocol.response_bytes(200, headers, orjson.dumps(MODEL.predict(rows).tolist()))
