"""Training and serving scripts of the tests."""

TRAIN = """\
import argparse, json, os
import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression

parser = argparse.ArgumentParser()
parser.add_argument("--strength", type=float, default=1.0)
arguments = parser.parse_args()
rows = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "rows.csv"), delimiter=",")
model = LogisticRegression(C=arguments.strength).fit(rows[:, 1:], rows[:, 0])
for step in range(3):
    print(f"step={step} acc={0.5 + step / 10}")
joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "report.json"), "w") as stream:
    json.dump({"rows": len(rows)}, stream)
"""

SERVE = """\
import os
import joblib


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))
"""

# Answers with the text it was asked for, slowly, or not at all, as the request says.
PLAY = """\
import json, os, time


def model_fn(model_dir):
    return "model"


def input_fn(body, content_type):
    return json.loads(body)


def predict_fn(wish, model):
    if wish.get("raise"):
        raise ValueError(wish["raise"])
    if wish.get("kill"):
        os.kill(os.getpid(), 9)
    time.sleep(wish.get("sleep", 0))
    return {"pid": os.getpid(), "echo": wish}


def output_fn(answer, accept):
    return json.dumps(answer), "application/json"
"""

ROWS = "\n".join(f"{int(x > 5)},{x},{(x * 7) % 3}" for x in range(12))
"""Label, then two columns."""
