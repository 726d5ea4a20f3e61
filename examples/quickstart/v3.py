"""Train, deploy and predict with the `sagemaker` SDK, version 3 (`pip install "sagemaker>=3"`).

loopwright serve --home ~/loop &
eval "$(loopwright env --home ~/loop)"
python examples/quickstart/v3.py
"""

import json
import logging
import tempfile
import time
from pathlib import Path

import flats
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.train import ModelTrainer

HERE = Path(__file__).parent
MACHINE = "ml.m5.large"

logging.basicConfig(level=logging.INFO)  # without it `train` shows nothing of the script's log
session = Session()
role = get_execution_role()
image = image_uris.retrieve("sklearn", session.boto_region_name, "1.2-1", instance_type=MACHINE)
with tempfile.TemporaryDirectory() as folder:
    flats.write(Path(folder, "train.csv"))
    data = session.upload_data(str(Path(folder, "train.csv")), key_prefix="quickstart/train")

trainer = ModelTrainer(
    training_image=image,
    source_code=SourceCode(source_dir=str(HERE / "source"), entry_script="train.py"),
    compute=Compute(instance_type=MACHINE, instance_count=1),
    hyperparameters={"alpha": 0.5},
    base_job_name="quickstart",
    role=role,
)
trainer.train(input_data_config=[InputData(channel_name="train", data_source=data)])
job = trainer._latest_training_job
print(f"{job.training_job_name}: {job.training_job_status}")

# The job has put its script beside the model, where the endpoint finds `model_fn`.
name = f"quickstart-{int(time.time())}"
container = ContainerDefinition(
    image=image,
    model_data_url=job.model_artifacts.s3_model_artifacts,
    environment={
        "SAGEMAKER_PROGRAM": "train.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
    },
)
variant = ProductionVariant(
    variant_name="AllTraffic", model_name=name, instance_type=MACHINE, initial_instance_count=1
)
model = Model.create(model_name=name, primary_container=container, execution_role_arn=role)
config = EndpointConfig.create(endpoint_config_name=name, production_variants=[variant])
endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
try:
    endpoint.wait_for_status("InService")
    answer = endpoint.invoke(
        body=json.dumps([flats.FLAT]), content_type="application/json", accept="application/json"
    )
    print(f"A flat of {flats.FLAT} costs {flats.rent(*flats.FLAT):.0f}")
    print(f"The endpoint says {json.loads(answer.body.read())[0]:.0f}")
finally:
    endpoint.delete()
    config.delete()
    model.delete()
