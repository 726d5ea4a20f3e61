"""Train, deploy and predict with the `sagemaker` SDK, version 2 (`pip install "sagemaker<3"`).

loopwright serve --home ~/loop &
eval "$(loopwright env --home ~/loop)"
python examples/quickstart/v2.py
"""

import tempfile
from pathlib import Path

import flats
import sagemaker
from sagemaker.deserializers import JSONDeserializer
from sagemaker.serializers import JSONSerializer
from sagemaker.sklearn import SKLearn

HERE = Path(__file__).parent

session = sagemaker.Session()
with tempfile.TemporaryDirectory() as folder:
    flats.write(Path(folder, "train.csv"))
    data = session.upload_data(str(Path(folder, "train.csv")), key_prefix="quickstart/train")

estimator = SKLearn(
    entry_point="train.py",
    source_dir=str(HERE / "source"),
    role=sagemaker.get_execution_role(),
    instance_type="ml.m5.large",
    framework_version="1.2-1",
    hyperparameters={"alpha": 0.5},
    metric_definitions=[{"Name": "validation:r2", "Regex": "validation r2: ([0-9.]+)"}],
)
estimator.fit({"train": data})  # prints the script's own log

predictor = estimator.deploy(
    initial_instance_count=1,
    instance_type="ml.m5.large",
    serializer=JSONSerializer(),
    deserializer=JSONDeserializer(),
)
try:
    print(f"A flat of {flats.FLAT} costs {flats.rent(*flats.FLAT):.0f}")
    print(f"The endpoint says {predictor.predict([flats.FLAT])[0]:.0f}")
finally:
    predictor.delete_model()
    predictor.delete_endpoint()
