"""Online experiments and bandits through boto3 on real models, with outcomes that come later."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.real.test_production import invoke, make_models, models, serve
from tests.server import BUCKET, Server, await_that, variant

__all__ = ["models"]
pytestmark = pytest.mark.real


def _ask(server: Server, endpoint: str, number: int) -> str:
    """Which variant answered the request of this number."""
    answer = invoke(server, endpoint, "{}", InferenceId=f"{endpoint}-{number}")
    return str(answer["InvokedProductionVariant"])


def test_an_experiment_finds_the_better_variant_by_late_outcomes(models: Server) -> None:
    server = models
    own = server.client("loopwright")
    serve(server, "tested", variant("A", "one"), variant("B", "two"))
    named = {"EndpointName": "tested", "ControlVariantName": "A", "TreatmentVariantNames": ["B"]}
    with pytest.raises(ClientError, match="no variant 'C'"):
        own.create_online_experiment(
            OnlineExperimentName="bad", **{**named, "TreatmentVariantNames": ["C"]}
        )
    own.create_online_experiment(OnlineExperimentName="better", **named)
    with pytest.raises(ClientError) as caught:
        own.create_online_experiment(OnlineExperimentName="better", **named)
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    draws = random.Random(1)
    outcomes: list[dict[str, Any]] = []

    def traffic(first: int, count: int) -> None:
        for number in range(first, first + count):
            by = _ask(server, "tested", number)
            value = float(draws.random() < {"A": 0.2, "B": 0.8}[by])
            outcomes.append({"InferenceId": f"tested-{number}", "Value": value})

    # The gateway looks at routes ten times a second: wait until it tells of requests.
    def told() -> bool | None:
        _ask(server, "tested", draws.getrandbits(60))
        found = own.describe_online_experiment(OnlineExperimentName="better")
        return sum(item["Requests"] for item in found["Variants"]) > 0 or None

    await_that(told, "the first observation")
    traffic(0, 120)
    # Half by the API, some of them twice, half by ground truth files; two for no request.
    assert own.record_outcome(EndpointName="tested", Outcomes=outcomes[:60])["Recorded"] == 60
    again = own.record_outcome(EndpointName="tested", Outcomes=outcomes[50:60])
    assert again == {**again, "Recorded": 0, "AlreadyRecorded": 10}
    lines = [
        json.dumps(
            {
                "groundTruthData": {"data": str(item["Value"]), "encoding": "CSV"},
                "eventMetadata": {"eventId": item["InferenceId"]},
                "eventVersion": "0",
            }
        )
        for item in outcomes[60:]
    ]
    server.put("truth/2026/11/25/12/a.jsonl", "\n".join(lines))
    told_of = own.import_outcomes(EndpointName="tested", S3Uri=f"s3://{BUCKET}/truth/")
    assert told_of["Recorded"] == 60

    def complete() -> dict[str, Any] | None:
        found = dict(own.describe_online_experiment(OnlineExperimentName="better"))
        return found if sum(item["Outcomes"] for item in found["Variants"]) == 120 else None

    found = await_that(complete, "all outcomes")
    control, treatment = found["Variants"]
    assert control["VariantName"] == "A" and treatment["Significant"]
    assert treatment["EffectLow"] > 0 and treatment["Mean"] > control["Mean"]
    assert [item["OnlineExperimentName"] for item in
            own.list_online_experiments()["OnlineExperiments"]] == ["better"]  # fmt: skip
    near = server.cli("experiment show", "bettr", check=False)
    assert near.returncode == 1 and "Did you mean better?" in near.stderr
    shown = server.cli("experiment show", "better").stdout
    assert "control" in shown and "*" in shown
    page = server.home / "better.html"
    server.cli("experiment show", "better", "--html", str(page))
    assert "Experiment better on tested" in page.read_text()
    shown = server.cli("endpoint show", "tested").stdout
    assert "InService" in shown and "requests/s" in shown
    own.stop_online_experiment(OnlineExperimentName="better")
    assert own.describe_online_experiment(OnlineExperimentName="better")["Status"] == "Stopped"
    own.delete_online_experiment(OnlineExperimentName="better")
    server.client("sagemaker").delete_endpoint(EndpointName="tested")
    advice = own.advise_sample_size(BaselineRate=0.1, MinimumEffect=0.02)
    assert 7000 < advice["RequestsIfLookedAtOnce"] < 8500
    assert advice["RequestsTypically"] > 5000


def test_a_guard_takes_the_traffic_from_a_treatment_that_fails(models: Server) -> None:
    server = models
    own = server.client("loopwright")
    serve(server, "watched", variant("A", "one"), variant("B", "two"))
    own.create_online_experiment(
        OnlineExperimentName="guarded",
        EndpointName="watched",
        ControlVariantName="A",
        TreatmentVariantNames=["B"],
        GuardAction="RemoveTraffic",
    )

    def removed() -> bool | None:
        for _ in range(10):
            try:
                invoke(server, "watched", '{"fail": "two"}')
            except ClientError as error:
                assert error.response["Error"]["Code"] == "ModelError"
        variants = server.client("sagemaker").describe_endpoint(EndpointName="watched")
        weights = {v["VariantName"]: v["DesiredWeight"] for v in variants["ProductionVariants"]}
        return weights["B"] == 0.0 or None

    await_that(removed, "the guard")
    found = own.describe_online_experiment(OnlineExperimentName="guarded")
    assert {"VariantName": "B", "Guard": "errors"} in found["TrippedGuards"]
    own.delete_online_experiment(OnlineExperimentName="guarded")
    server.client("sagemaker").delete_endpoint(EndpointName="watched")


def test_a_bandit_learns_from_outcomes_and_goes_on_after_a_kill(own_server: Server) -> None:
    server = own_server
    own = server.client("loopwright")
    make_models(server)
    serve(server, "armed", variant("A", "one"), variant("B", "two"))

    def put(_: int) -> None:
        own.put_bandit(
            EndpointName="armed",
            VariantNames=["A", "B"],
            Policy="ThompsonSampling",
            FloorShare=0.05,
            OutcomeWindowInSeconds=600,
        )

    with ThreadPoolExecutor(6) as pool:
        # Of several at once the last one decides, and none fails.
        assert list(pool.map(put, range(24))) == [None] * 24
    draws = random.Random(2)
    for number in range(120):
        by = _ask(server, "armed", number)
        value = float(draws.random() < {"A": 0.1, "B": 0.9}[by])
        outcome = {"InferenceId": f"armed-{number}", "Value": value}
        own.record_outcome(EndpointName="armed", Outcomes=[outcome])

    def learned() -> dict[str, Any] | None:
        found = dict(own.describe_bandit(EndpointName="armed"))
        shares = found["Allocations"][-1]["Shares"] if found["Allocations"] else {}
        return found if shares.get("B", 0.0) > 0.9 else None

    before = await_that(learned, "the better variant's share")
    assert "ThompsonSampling" in server.cli("endpoint show", "armed").stdout
    page = server.home / "armed.html"
    server.cli("bandit show", "armed", "--html", str(page))
    assert "ThompsonSampling on armed" in page.read_text()
    server.kill()
    server.start()
    own = server.client("loopwright")
    after = own.describe_bandit(EndpointName="armed")
    assert sum(arm["Rewards"] for arm in after["Arms"]) >= 110
    assert len(after["Allocations"]) >= len(before["Allocations"])
    seen = [_ask(server, "armed", 1000 + number) for number in range(60)]
    assert seen.count("B") > 40
    own.delete_bandit(EndpointName="armed")
    with pytest.raises(ClientError, match="no Bandit 'armed'"):
        own.describe_bandit(EndpointName="armed")
