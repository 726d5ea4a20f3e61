"""Inference experiments (shadow tests): a shadow variant for a time, and what becomes of it.

The experiment owns endpoint configurations, moves its endpoint to one of them at its start, and
at its end to what was there before or to what the stop asks for. Fields and states: the API
reference on `CreateInferenceExperiment` and `StopInferenceExperiment`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from loopwright.kernel.actions import Action, Call, CreateChild, DropCall, SetStatus, Wake
from loopwright.kernel.clock import Clock
from loopwright.kernel.engine import View
from loopwright.kernel.kinds import Kind, Lookup
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Store
from loopwright.kernel.verbs import Context, Operation, find, mutate, seconds
from loopwright.wire.errors import validation

FINISHED: Final = frozenset({"Completed", "Cancelled"})
LOOK_S: Final = 1.0
DEFAULT_S: Final = 7 * 86_400.0
LONGEST_S: Final = 30 * 86_400.0
UPDATING: Final = ("Starting", "Updating", "Stopping")


# What is refused


def _check(spec: Mapping[str, Any], lookup: Lookup) -> None:
    endpoint = lookup.record("Endpoint", spec["EndpointName"])
    if endpoint is None or endpoint.status["EndpointStatus"] != "InService":
        raise validation(
            f"EndpointName is {spec['EndpointName']!r}; it must be an endpoint in service."
        )
    production = (endpoint.status.get("Fleet") or {"variants": ()})["variants"]
    if len(production) != 1:
        raise validation(
            f"Endpoint {endpoint.name} has {len(production)} production variants; a shadow test "
            "needs exactly one."
        )
    check_variants(spec, lookup)
    start, end = _times(spec, 0.0)
    if end - start > LONGEST_S:
        raise validation("Schedule: an experiment takes at most 30 days.")
    if spec.get("Schedule", {}).get("EndTime") and end <= start:
        raise validation("Schedule.EndTime must be after StartTime.")


def check_variants(spec: Mapping[str, Any], lookup: Lookup) -> None:
    """Refuse variants that do not fit together.

    Raises:
        ApiError: `ValidationException`.
    """
    names = [item["VariantName"] for item in spec["ModelVariants"]]
    mode = spec["ShadowModeConfig"]
    shadow = mode["ShadowModelVariants"][0]["ShadowModelVariantName"]
    wanted = [mode["SourceModelVariantName"], shadow]
    if sorted(names) != sorted(wanted) or len(set(wanted)) != 2:
        raise validation(
            f"ModelVariants are {', '.join(names)}; they must be the source and the shadow of "
            f"ShadowModeConfig, {' and '.join(wanted)}."
        )
    for item in spec["ModelVariants"]:
        if lookup.record("Model", item["ModelName"]) is None:
            raise validation(f'Could not find model "{item["ModelName"]}".')


# What happens


def _plan(record: Record, view: View, now: float) -> list[Action]:
    status, spec = record.status, record.spec
    endpoint = view.lookup("Endpoint", spec["EndpointName"])
    if endpoint is None:
        reason = f"Endpoint {spec['EndpointName']} was deleted."
        return [_over("Cancelled", reason, now)]
    state = status["Status"]
    if state == "Creating":
        before = endpoint.status["EndpointConfigName"]
        return [SetStatus({"Status": "Created", "Before": before}, "Created"), Wake(now)]
    start, end = _times(spec, record.created)
    if state == "Created" and (status.get("StartRequested") or now >= start):
        return _move(record, "Starting", _experiment_config(record), now)
    if state == "Running":
        if now >= end:
            return _move(record, "Stopping", None, now)
        return [Wake(min(end, now + 60.0))]
    if state == "Updating" and status.get("Renew"):
        return [SetStatus({"Renew": None}), *_move(record, "Updating", _experiment_config(record),
                                                   now)]  # fmt: skip
    if state == "Stopping" and status.get("Final"):
        return [SetStatus({"Final": None}), *_move(record, "Stopping", status["Final"], now)]
    if state in UPDATING:
        return _update(record, view, endpoint, now)
    return [Wake(max(now + LOOK_S, min(start, now + 60.0)))]


def _times(spec: Mapping[str, Any], created: float) -> tuple[float, float]:
    schedule = spec.get("Schedule", {})
    start = float(schedule.get("StartTime") or created)
    return start, float(schedule.get("EndTime") or start + DEFAULT_S)


def _move(record: Record, state: str, config: Mapping[str, Any] | None, now: float) -> list[Action]:
    """Begin to bring the endpoint to a configuration; None: to the one before."""
    stage = int(record.status.get("Stage", 0)) + 1
    name = record.status["Before"]
    actions: list[Action] = []
    if config is not None:
        name = f"{record.name[:30]}-{record.uid[:8]}-{stage}"
        actions.append(CreateChild("EndpointConfig", name, {**config, "EndpointConfigName": name}))
    changes = {"Status": state, "Stage": stage, "Target": name}
    return [*actions, SetStatus(changes, f"{state}: the endpoint goes to {name}"), Wake(now)]


def _experiment_config(record: Record) -> dict[str, Any]:
    """The endpoint's configuration while the experiment runs."""
    mode = record.spec["ShadowModeConfig"]
    chosen = mode["ShadowModelVariants"][0]
    source = _variant(record.spec, mode["SourceModelVariantName"], 1.0)
    share = chosen["SamplingPercentage"] / 100.0
    shadow = _variant(record.spec, chosen["ShadowModelVariantName"], share)
    found = {"ProductionVariants": [source], "ShadowProductionVariants": [shadow]}
    return found | _capture(record.spec)


def _variant(spec: Mapping[str, Any], name: str, weight: float) -> dict[str, Any]:
    item = next(item for item in spec["ModelVariants"] if item["VariantName"] == name)
    machine = item["InfrastructureConfig"]["RealTimeInferenceConfig"]
    return {
        "VariantName": name,
        "ModelName": item["ModelName"],
        "InstanceType": machine["InstanceType"],
        "InitialInstanceCount": machine["InstanceCount"],
        "InitialVariantWeight": weight,
    }


def _capture(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Both variants' requests and answers go to the experiment's own place, if it has one."""
    storage = spec.get("DataStorageConfig")
    if not storage:
        return {}
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": storage["Destination"],
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    }
    if storage.get("KmsKey"):
        capture["KmsKeyId"] = storage["KmsKey"]
    if storage.get("ContentType"):
        capture["CaptureContentTypeHeader"] = storage["ContentType"]
    return {"DataCaptureConfig": capture}


def _update(record: Record, view: View, endpoint: Record, now: float) -> list[Action]:
    """Have the endpoint updated, and go on when it is."""
    status = record.status
    target, attempt = status["Target"], int(status.get("Attempt", 0))
    key = f"update-{status['Stage']}-{attempt}"
    if key not in view.calls:
        arguments = {"region": record.region, "endpoint": endpoint.name, "config": target}
        return [Call("shadow_test.update", key, arguments), Wake(now + LOOK_S)]
    result = view.calls[key]
    if result is None or endpoint.status["EndpointStatus"] != "InService":
        return [Wake(now + LOOK_S)]
    if endpoint.status["EndpointConfigName"] == target and not endpoint.status.get("Update"):
        return [DropCall(key), *_arrived(record, now)]
    if result.get("refused"):
        return [DropCall(key), SetStatus({"Attempt": attempt + 1}), Wake(now + LOOK_S)]
    reason = endpoint.status.get("FailureReason") or "the endpoint was updated by someone else"
    return [DropCall(key), _over("Cancelled", reason, now)]


def _arrived(record: Record, now: float) -> list[Action]:
    if record.status["Status"] != "Stopping":
        return [SetStatus({"Status": "Running"}, "Running"), Wake(now)]
    state = record.status.get("DesiredState", "Completed")
    return [_over(state, record.status.get("StopReason", ""), now)]


def _over(state: str, reason: str, now: float) -> SetStatus:
    changes = {"Status": state, "CompletionTime": now, "StatusReason": reason[:1024] or None}
    return SetStatus(changes, f"{state} {reason}".strip())


def shadow_test_functions(
    store: Store, clock: Clock
) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    """`shadow_test.update`: begin an update of an endpoint; repeating it changes nothing."""

    def update(arguments: Mapping[str, Any]) -> dict[str, Any]:
        config = arguments["config"]
        while True:
            record = store.get(arguments["region"], "Endpoint", arguments["endpoint"])
            if record is None:
                return {"refused": "the endpoint is gone"}
            begun = (record.status.get("Update") or {}).get("config")
            fleet = (record.status.get("Fleet") or {}).get("config")
            if config in (begun, fleet):
                return {"begun": config}
            if record.status["EndpointStatus"] != "InService":
                return {"refused": f"the endpoint is {record.status['EndpointStatus']}"}
            wanted = {"config": config, "retained": [], "deployment": {}}
            status = {**record.status, "EndpointStatus": "Updating", "Update": wanted}
            event = f"An inference experiment updates to {config}"
            try:
                store.change(record, status, state="Updating", now=clock.now(), event=event)
            except Outdated:
                continue
            return {"begun": config}

    return {"shadow_test.update": update}


# What one sees


def _present(record: Record, lookup: Lookup) -> Mapping[str, Any]:
    spec, state = record.spec, record.status["Status"]
    endpoint = lookup.record("Endpoint", spec["EndpointName"])
    metadata = {"EndpointName": spec["EndpointName"]}
    if endpoint is not None:
        for member in ("EndpointConfigName", "EndpointStatus", "FailureReason"):
            if endpoint.status.get(member):
                metadata[member] = endpoint.status[member]
    variant = {"Running": "InService", "Stopping": "Deleting"}.get(state, "Creating")
    if state in FINISHED:
        variant = "Deleted"
    return {
        "Arn": record.arn,
        "EndpointMetadata": metadata,
        "ModelVariants": [{**item, "Status": variant} for item in spec["ModelVariants"]],
    }


SHADOW_TEST_KIND: Final = Kind(
    "InferenceExperiment",
    arn="inference-experiment",
    state="Status",
    finished=FINISHED,
    initial_status=lambda spec, now: {"Status": "Creating"},
    planner=_plan,
    check=_check,
    present=_present,
    missing=("ResourceNotFound", "There is no inference experiment {name}."),
    delete_when=FINISHED,
    name_as="Name",
)


def shadow_test_operations() -> dict[str, Operation]:
    """By operation name: those that are no generic verb."""
    return {
        "StartInferenceExperiment": _start,
        "StopInferenceExperiment": _stop,
        "UpdateInferenceExperiment": _update_experiment,
    }


def _start(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    def change(record: Record) -> Mapping[str, Any]:
        if record.status["Status"] != "Created":
            raise validation(
                f"Inference experiment {record.name} is {record.status['Status']}; only one that "
                "is Created can be started."
            )
        return {**record.status, "StartRequested": True}

    record = mutate(context, SHADOW_TEST_KIND, params["Name"], change, "Start requested")
    return {"InferenceExperimentArn": record.arn}


def _stop(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """End a running experiment by what shall become of each variant."""
    before = find(context, SHADOW_TEST_KIND, params["Name"])
    desired = params.get("DesiredModelVariants") or before.spec["ModelVariants"]
    final = _final_config({**before.spec, "ModelVariants": desired}, params["ModelVariantActions"])

    def change(record: Record) -> Mapping[str, Any]:
        if record.status["Status"] != "Running":
            raise validation(
                f"Inference experiment {record.name} is {record.status['Status']}; only one that "
                "is Running can be stopped."
            )
        told = {
            "Status": "Stopping",
            "DesiredState": params.get("DesiredState", "Completed"),
            "StopReason": params.get("Reason", ""),
            "Final": final,
        }
        return {**record.status, **told}

    record = mutate(context, SHADOW_TEST_KIND, params["Name"], change, "Stop requested")
    return {"InferenceExperimentArn": record.arn}


def _final_config(spec: Mapping[str, Any], actions: Mapping[str, str]) -> dict[str, Any]:
    """What the endpoint serves afterwards.

    Raises:
        ApiError: nothing would be left, or an action does not fit its variant.
    """
    mode = spec["ShadowModeConfig"]
    source = mode["SourceModelVariantName"]
    chosen = mode["ShadowModelVariants"][0]
    shadow = chosen["ShadowModelVariantName"]
    unknown = set(actions) - {source, shadow}
    if unknown:
        raise validation(f"ModelVariantActions names {', '.join(unknown)}, which are not in it.")
    if actions.get(source) == "Promote":
        raise validation(f"{source} is the production variant; only a shadow can be promoted.")
    production, shadows = [], []
    if actions.get(source, "Retain") == "Retain":
        production.append(_variant(spec, source, 1.0))
    if actions.get(shadow) == "Promote":
        production.append(_variant(spec, shadow, 1.0))
    elif actions.get(shadow) == "Retain":
        shadows.append(_variant(spec, shadow, chosen["SamplingPercentage"] / 100.0))
    if not production:
        raise validation("No production variant would be left: Retain the source, or Promote.")
    found: dict[str, Any] = {"ProductionVariants": production}
    return found | ({"ShadowProductionVariants": shadows} if shadows else {})


def _update_experiment(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """New settings of an experiment that has not ended; a running one's endpoint is updated."""
    while True:
        record = find(context, SHADOW_TEST_KIND, params["Name"])
        state = record.status["Status"]
        if state not in ("Created", "Running"):
            raise validation(
                f"Inference experiment {record.name} is {state}; only one that is Created or "
                "Running can be updated."
            )
        spec = {**record.spec, **_plain({k: v for k, v in params.items() if k != "Name"})}
        check_variants(spec, context.lookup)
        now = context.clock.now()
        shown = ("ModelVariants", "DataStorageConfig", "ShadowModeConfig")
        try:
            changed = context.store.replace_spec(record, spec, now)
            if state == "Running" and any(member in params for member in shown):
                status = {**record.status, "Status": "Updating", "Renew": True}
                context.store.change(changed, status, state="Updating", now=now, event="Updated")
        except Outdated:
            continue
        context.wake()
        return {"InferenceExperimentArn": record.arn}


def _plain(members: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(members)
    if "Schedule" in found:
        found["Schedule"] = {
            name: seconds(value) for name, value in found["Schedule"].items() if value is not None
        }
    return found
