"""The same model behind LitServe, as short as its users write it; see serving.py."""

import os
import sys
from typing import Any

import joblib
import litserve
import numpy as np


class Labels(litserve.LitAPI):
    def setup(self, device: Any) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"])

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # its form by the signature
        return np.array(request["rows"])

    def predict(self, rows: Any) -> Any:
        return self.model.predict(rows)

    def encode_response(self, labels: Any) -> Any:
        return {"labels": labels.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        Labels(api_path="/invocations"), accelerator="cpu", workers_per_device=1
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="error", generate_client_file=False
    )
