"""MLflow's deployments client for SageMaker, on an image that serves scripts."""

import os
import time

import mlflow
import numpy as np
import pandas as pd
import told
from mlflow.deployments import get_deploy_client
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LinearRegression

# What a model server of scikit-learn's image needs to read what MLflow packs and sends.
SERVE = """
import json, os, pickle
import numpy as np
def model_fn(folder):
    with open(os.path.join(folder, "model.pkl"), "rb") as file:
        return pickle.load(file)
def input_fn(body, kind):
    asked = json.loads(body)
    rows = asked["dataframe_split"]["data"] if "dataframe_split" in asked else asked["instances"]
    return np.array(rows)
def output_fn(found, accept):
    return json.dumps({"predictions": found.tolist()}), "application/json"
"""
# MLflow asks for the state each 5 s, and not in an update's first 20 s: its clock goes faster here.
began, now, sleep = time.time(), time.time, time.sleep
time.time = lambda: began + (now() - began) * 20
time.sleep = lambda seconds: sleep(seconds / 20)
told.client("MLflow's SageMaker deployments client", mlflow.__version__)
FACTORS = {"plus": 1.0, "minus": -1.0}


def saved(name):
    """A model of MLflow's with the script beside it; its folder."""
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    model = LinearRegression(fit_intercept=False).fit(rows, FACTORS[name] * rows.sum(axis=1))
    mlflow.sklearn.save_model(model, name, serialization_format="cloudpickle",
                              pip_requirements=["scikit-learn"])  # fmt: skip
    os.makedirs(f"{name}/code")
    with open(f"{name}/code/serve.py", "w") as file:
        file.write(SERVE)
    return os.path.abspath(name)


client = get_deploy_client("sagemaker:/us-east-1")
CONFIG = {
    "execution_role_arn": told.ROLE,
    "image_url": told.IMAGE,
    "instance_type": told.MACHINE,
    "instance_count": 1,
    "env": {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
    "tags": {"team": "data"},
    "timeout_seconds": 1200,
}

with told.check("create_deployment into its own default bucket, waiting until it is in service"):
    found = client.create_deployment(
        "mlflow", saved("plus"), flavor="python_function", config=CONFIG
    )
    assert found == {"name": "mlflow", "flavor": "python_function"}, found

with told.check("predict with a data frame"):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    found = client.predict("mlflow", frame).get_predictions()
    assert np.allclose(found.to_numpy().ravel(), [4.0, 6.0]), found

with told.check("list_deployments, get_deployment, an error for one that is not there"):
    assert "mlflow" in [found["EndpointName"] for found in client.list_deployments()]
    assert client.get_deployment("mlflow")["EndpointStatus"] == "InService"
    with told.refused(MlflowException, "Could not find endpoint"):
        client.get_deployment("nothing")
    with told.refused(MlflowException, "already exists"):
        client.create_deployment("mlflow", os.path.abspath("plus"), config=CONFIG)

with told.check("update_deployment replaces the model, and removes the old one"):
    client.update_deployment("mlflow", saved("minus"), flavor="python_function",
                             config={**CONFIG, "mode": "replace"})  # fmt: skip
    found = client.predict("mlflow", frame).get_predictions()
    assert np.allclose(found.to_numpy().ravel(), [-4.0, -6.0]), found

with told.check("delete_deployment removes endpoint, configuration and model"):
    client.delete_deployment("mlflow", config={"archive": False, "timeout_seconds": 1200})
    assert "mlflow" not in [found["EndpointName"] for found in client.list_deployments()]

with told.check("deploy_transform_job", later="batch transform is not there yet"):
    with told.refused(Exception, "ListTransformJobs"):
        mlflow.sagemaker.deploy_transform_job(
            "mlflow-batch", os.path.abspath("plus"), "S3Prefix", "s3://mlflow-in/rows", "text/csv",
            "s3://mlflow-out/", execution_role_arn=told.ROLE, image_url=told.IMAGE,
            region_name="us-east-1", instance_type=told.MACHINE,
        )  # fmt: skip
told.end()
