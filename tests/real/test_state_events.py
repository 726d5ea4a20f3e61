"""What becomes of jobs, endpoints and alarms is told: to webhooks, and to an alarm's function."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.hooks import Hook, told
from tests.real.test_alarms import alarm
from tests.real.test_functions import make
from tests.real.test_production import NAMED
from tests.server import Server, await_that, packed

pytestmark = pytest.mark.real


def _details(hook: Hook, kind: str, resource: str) -> list[dict[str, Any]]:
    """The details of the events of one type about one resource, in the order of their changes."""
    found = [
        item
        for item in hook.events
        if item["detail-type"] == kind and item["resources"][0].endswith(resource)
    ]
    assert len({item["id"] for item in found}) == len(found)
    times = [item["detail"].get("LastModifiedTime", 0) for item in found]
    return [found[at]["detail"] for at in sorted(range(len(found)), key=lambda at: times[at])]


def test_a_training_job_tells_its_states(server: Server) -> None:
    name = "told-job"
    pattern = {
        "source": ["aws.sagemaker"],
        "detail": {"TrainingJobName": [name]},
    }
    with told(server, pattern) as hook:
        server.train(name, "print('hello')", Tags=[{"Key": "team", "Value": "blue"}])
        assert server.trained(name)["TrainingJobStatus"] == "Completed"
        kind = "SageMaker Training Job State Change"

        def over() -> list[dict[str, Any]] | None:
            found = _details(hook, kind, f":training-job/{name}")
            return found if found and found[-1]["TrainingJobStatus"] == "Completed" else None

        found = await_that(over, "the event of the job's end")
    seen = [item["SecondaryStatus"] for item in found]
    assert seen[0] == "Starting"
    assert seen[-1] == "Completed"
    assert "Training" in seen
    described = server.client("sagemaker").describe_training_job(TrainingJobName=name)
    last = found[-1]
    assert last["Tags"] == {"team": "blue"}
    assert last["TrainingEndTime"] == round(described["TrainingEndTime"].timestamp() * 1000)
    assert last["ModelArtifacts"] == described["ModelArtifacts"]


def test_an_endpoint_tells_its_states_and_the_steps_of_its_update(quick: Server) -> None:
    server, name = quick, "told"
    sagemaker = server.client("sagemaker")
    data = server.put("named/model.tar.gz", packed({"note.txt": "x"}))
    with told(server, {"source": ["aws.sagemaker"]}) as hook:
        server.deploy(name, data, NAMED.replace('os.environ["NAME"]', '"one"'))
        config = sagemaker.describe_endpoint_config(EndpointConfigName=name)
        again = {"EndpointConfigName": f"{name}-2"}
        sagemaker.create_endpoint_config(**again, ProductionVariants=config["ProductionVariants"])
        sagemaker.update_endpoint(EndpointName=name, **again)
        assert server.endpoint(name)["EndpointStatus"] == "InService"
        server.kill()
        server.start()
        sagemaker.delete_endpoint(EndpointName=name)
        kind = "SageMaker Endpoint State Change"

        def over() -> list[dict[str, Any]] | None:
            found = _details(hook, kind, f":endpoint/{name}")
            return found if any(i["EndpointStatus"] == "DELETED" for i in found) else None

        states = [item["EndpointStatus"] for item in await_that(over, "the event of its end")]
        assert [state for state in states if state != "DELETED"] == [
            "CREATING", "IN_SERVICE", "UPDATING", "IN_SERVICE", "DELETING",
        ]  # fmt: skip
        steps = _details(hook, "SageMaker Endpoint Deployment State Change", f":endpoint/{name}")
        pending = [item["PendingDeploymentSummary"] for item in steps]
        assert {item["EndpointConfigName"] for item in pending} == {f"{name}-2"}
        variants = [item["ProductionVariants"][0] for item in pending]
        status = {state["Status"] for item in variants for state in item["VariantStatus"]}
        assert "Creating" in status
        assert _details(hook, "SageMaker Model State Change", f":model/{name}")
        assert _details(hook, "SageMaker Endpoint Config State Change", f"config/{name}-2")


def test_alarms_tell_their_states_and_invoke_their_functions(quick: Server) -> None:
    server, name = quick, "told-alarm"
    watch = server.client("cloudwatch")
    function = make(server, "told-function", "def handler(event, context):\n    print(event)\n")
    with pytest.raises(ClientError, match=r"ARN of a scaling policy .* of a function"):
        watch.put_metric_alarm(**alarm(AlarmName=name, AlarmActions=["arn:aws:lambda:x:1:layer:y"]))
    pattern = {"source": ["aws.cloudwatch"], "detail": {"alarmName": [name]}}
    with told(server, pattern) as hook:
        actions = [function["FunctionArn"], f"{function['FunctionArn']}-gone"]
        watch.put_metric_alarm(**alarm(AlarmName=name, AlarmActions=actions))
        for state in ("ALARM", "OK"):
            watch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="by hand")
            await_that(
                lambda state=state: any(
                    item["detail"]["state"]["value"] == state and "previousState" in item["detail"]
                    for item in hook.events
                ) or None,
                f"the event of {state}",
            )  # fmt: skip
        watch.delete_alarms(AlarmNames=[name])

        def changes() -> set[str] | None:
            found = {i["detail"].get("operation") for i in hook.events} - {None}
            return found if "delete" in found else None

        assert await_that(changes, "the event of the alarm's end") == {"create", "delete"}
        first = next(i for i in hook.events if i["detail"]["state"]["value"] == "ALARM")
    assert first["detail"]["previousState"]["value"] == "INSUFFICIENT_DATA"
    assert first["detail"]["state"]["reason"] == "by hand"
    (metric,) = first["detail"]["configuration"]["metrics"]
    assert metric["metricStat"]["metric"]["name"] == alarm()["MetricName"]

    def invoked() -> list[str] | None:
        group = "/aws/lambda/told-function"
        logs = server.client("logs")
        found = logs.filter_log_events(logGroupName=group)["events"]
        return [item["message"] for item in found if "alarmData" in item["message"]] or None

    (message,) = await_that(invoked, "the function's log")
    assert f"'alarmName': '{name}'" in message
    assert "'previousState': {'reason'" in message
    history = watch.describe_alarm_history(AlarmName=name, HistoryItemType="Action")
    said = sorted(item["HistorySummary"] for item in history["AlarmHistoryItems"])
    assert "Failed to execute action" in said[0] and "not found" in said[0].lower()
    assert said[1].startswith("Successfully executed action")
