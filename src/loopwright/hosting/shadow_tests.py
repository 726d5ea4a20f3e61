"""Inference experiments (shadow tests): a shadow variant for a time, and what becomes of it.

The experiment owns endpoint configurations, moves its endpoint to one of them at its start, and
at its end to what was there before its start or to what the stop asks for. An endpoint has one at
a time, which its status names. Fields and states: the API reference on
`CreateInferenceExperiment` and `StopInferenceExperiment`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from loopwright.contract.instances import check_count
from loopwright.kernel.actions import Action, Call, CreateChild, DropCall, SetStatus, Wake
from loopwright.kernel.clock import Clock
from loopwright.kernel.engine import View
from loopwright.kernel.kinds import Kind, Lookup
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Store
from loopwright.kernel.verbs import Context, Operation, create, find, mutate, seconds
from loopwright.wire.errors import validation

FINISHED: Final = frozenset({"Completed", "Cancelled"})
LOOK_S: Final = 1.0
DEFAULT_S: Final = 7 * 86_400.0
LONGEST_S: Final = 30 * 86_400.0
UPDATING: Final = ("Starting", "Updating", "Stopping")
VARIANTS: Final = ("ProductionVariants", "ShadowProductionVariants")
ACTIVE: Final = ("Running", *UPDATING)
OWNER: Final = "ShadowTest"
"""Status member of an endpoint: the experiment that moved it last."""
KEPT: Final = (
    "RoutingConfig",
    "ContainerStartupHealthCheckTimeoutInSeconds",
    "ModelDataDownloadTimeoutInSeconds",
)
"""What the source variant keeps of the endpoint's own configuration."""


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


def check_schedule(schedule: Mapping[str, Any], start: float, now: float) -> None:
    """Refuse times that do not fit together.

    Args:
        start: When it starts without a `StartTime`.

    Raises:
        ApiError: `ValidationException`.
    """
    end = seconds(schedule.get("EndTime"))
    start = seconds(schedule.get("StartTime")) or start
    if end is not None and end <= max(start, now):
        raise validation("Schedule.EndTime must be after StartTime, and still to come.")
    if end is not None and end - start > LONGEST_S:
        raise validation("Schedule: an experiment takes at most 30 days.")


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
    share = mode["ShadowModelVariants"][0]["SamplingPercentage"]
    if share < 0:
        raise validation(f"SamplingPercentage is {share}; it must be from 0 to 100.")
    _check_models(spec["ModelVariants"], lookup)


def _check_models(variants: Iterable[Mapping[str, Any]], lookup: Lookup) -> None:
    for item in variants:
        if lookup.record("Model", item["ModelName"]) is None:
            raise validation(f'Could not find model "{item["ModelName"]}".')
        count = item["InfrastructureConfig"]["RealTimeInferenceConfig"]["InstanceCount"]
        check_count(f"Variant {item['VariantName']}", count)
        if count < 1:
            raise validation(
                f"InstanceCount of variant {item['VariantName']} is 0; a variant needs at least 1."
            )


# What happens


def _plan(record: Record, view: View, now: float) -> list[Action]:
    status, spec = record.status, record.spec
    endpoint = view.lookup("Endpoint", spec["EndpointName"])
    if endpoint is None:
        reason = f"Endpoint {spec['EndpointName']} was deleted."
        return [_over("Cancelled", reason, now)]
    state = status["Status"]
    if state == "Creating":
        return [SetStatus({"Status": "Created"}, "Created"), Wake(now)]
    start, end = _times(spec, record.created)
    if state == "Created" and (status.get("StartRequested") or now >= start):
        return _begin(record, view, endpoint, now)
    if state == "Running":
        return _attend(record, view, endpoint, now, end)
    if state == "Updating" and status.get("Renew"):
        return [SetStatus({"Renew": None}), *_move(record, "Updating", _experiment_config(record),
                                                   now)]  # fmt: skip
    if state == "Stopping" and status.get("Final"):
        return [SetStatus({"Final": None}), *_move(record, "Stopping", status["Final"], now)]
    if state in UPDATING:
        return _update(record, view, endpoint, now)
    return [Wake(max(now + LOOK_S, min(start, now + 60.0)))]


def _is_settled(endpoint: Record) -> bool:
    return endpoint.status["EndpointStatus"] == "InService" and not endpoint.status.get("Update")


def _begin(record: Record, view: View, endpoint: Record, now: float) -> list[Action]:
    """Start once the endpoint is settled and no other experiment's; remember what it serves."""
    owner = endpoint.status.get(OWNER, "")
    other = view.lookup("InferenceExperiment", owner) if owner not in ("", record.name) else None
    if not _is_settled(endpoint) or (other is not None and other.status["Status"] in ACTIVE):
        return [Wake(now + LOOK_S)]
    name = endpoint.status["EndpointConfigName"]
    config = view.lookup("EndpointConfig", name)
    kept = {"Before": name, "BeforeSpec": dict(config.spec) if config is not None else {}}
    found = _experiment_config(replace(record, status={**record.status, **kept}))
    return [SetStatus(kept), *_move(record, "Starting", found, now)]


def _attend(record: Record, view: View, endpoint: Record, now: float, end: float) -> list[Action]:
    """While it runs: end it in time, or when somebody else has updated its endpoint."""
    if _is_settled(endpoint) and endpoint.status["EndpointConfigName"] != record.status["Target"]:
        return [_over("Cancelled", "the endpoint was updated by someone else", now)]
    if now < end:
        return [Wake(min(end, now + 60.0))]
    before = record.status["Before"]
    if view.lookup("EndpointConfig", before) is not None:
        return _move(record, "Stopping", None, now, before)
    return _move(record, "Stopping", record.status.get("BeforeSpec") or None, now, before)


def _times(spec: Mapping[str, Any], created: float) -> tuple[float, float]:
    schedule = spec.get("Schedule", {})
    start = float(schedule.get("StartTime") or created)
    return start, float(schedule.get("EndTime") or start + DEFAULT_S)


def _move(
    record: Record, state: str, config: Mapping[str, Any] | None, now: float, name: str = ""
) -> list[Action]:
    """Begin to bring the endpoint to a configuration of the experiment's own; None: to `name`."""
    stage = int(record.status.get("Stage", 0)) + 1
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
    before = record.status.get("BeforeSpec") or {}
    source = _variant(record.spec, mode["SourceModelVariantName"], 1.0, before)
    share = chosen["SamplingPercentage"] / 100.0
    shadow = _variant(record.spec, chosen["ShadowModelVariantName"], share, before)
    found = {"ProductionVariants": [source], "ShadowProductionVariants": [shadow]}
    return found | _capture(record.spec, before)


def _variant(
    spec: Mapping[str, Any], name: str, weight: float, before: Mapping[str, Any]
) -> dict[str, Any]:
    own: Mapping[str, Any] = next(
        (v for v in before.get("ProductionVariants", ()) if v["VariantName"] == name), {}
    )
    item = next(item for item in spec["ModelVariants"] if item["VariantName"] == name)
    machine = item["InfrastructureConfig"]["RealTimeInferenceConfig"]
    return {
        **{member: own[member] for member in KEPT if member in own},
        "VariantName": name,
        "ModelName": item["ModelName"],
        "InstanceType": machine["InstanceType"],
        "InitialInstanceCount": machine["InstanceCount"],
        "InitialVariantWeight": weight,
    }


def _capture(spec: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Both variants' requests and answers go to the experiment's own place, if it has one; else
    the endpoint's own capture goes on."""
    storage = spec.get("DataStorageConfig")
    if not storage:
        return _own_capture(before)
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


def _own_capture(before: Mapping[str, Any]) -> dict[str, Any]:
    own = before.get("DataCaptureConfig")
    return {"DataCaptureConfig": own} if own else {}


def _update(record: Record, view: View, endpoint: Record, now: float) -> list[Action]:
    """Have the endpoint updated, and go on when it is."""
    status = record.status
    target, attempt = status["Target"], int(status.get("Attempt", 0))
    key = f"update-{status['Stage']}-{attempt}"
    if key not in view.calls:
        arguments = {
            "region": record.region, "endpoint": endpoint.name, "config": target,
            "test": record.name, "before": status["Before"] if _is_first(status) else None,
        }  # fmt: skip
        return [Call("shadow_test.update", key, arguments), Wake(now + LOOK_S)]
    result = view.calls[key]
    if result is None or endpoint.status["EndpointStatus"] != "InService":
        return [Wake(now + LOOK_S)]
    if endpoint.status["EndpointConfigName"] == target and not endpoint.status.get("Update"):
        return [DropCall(key), *_arrived(record, now)]
    refused = result.get("error") or (result.get("value") or {}).get("refused")
    if refused and _is_first(status):
        again = {"Status": "Created", "StartRequested": True}
        return [DropCall(key), SetStatus(again, f"Waits: {refused}"), Wake(now + LOOK_S)]
    if refused:
        return [DropCall(key), SetStatus({"Attempt": attempt + 1}), Wake(now + LOOK_S)]
    reason = endpoint.status.get("FailureReason") or "the endpoint was updated by someone else"
    return [DropCall(key), _over("Cancelled", reason, now)]


def _is_first(status: Mapping[str, Any]) -> bool:
    """Whether the endpoint is still as it was before the experiment."""
    return bool(status["Status"] == "Starting")


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
            refused = _why_not(store, record, arguments)
            if refused:
                return {"refused": refused}
            wanted = {"config": config, "retained": [], "deployment": {}}
            status = {**record.status, "EndpointStatus": "Updating", "Update": wanted,
                      OWNER: arguments["test"]}  # fmt: skip
            event = f"An inference experiment updates to {config}"
            try:
                store.change(record, status, state="Updating", now=clock.now(), event=event)
            except Outdated:
                continue
            return {"begun": config}

    return {"shadow_test.update": update}


def _why_not(store: Store, endpoint: Record, arguments: Mapping[str, Any]) -> str:
    """Why an experiment cannot move its endpoint now, or nothing."""
    status = endpoint.status
    if status["EndpointStatus"] != "InService":
        return f"the endpoint is {status['EndpointStatus']}"
    if arguments["before"] not in (None, status["EndpointConfigName"]):
        return "the endpoint was just updated"
    owner = status.get(OWNER)
    if owner not in (None, arguments["test"]):
        other = store.get(endpoint.region, "InferenceExperiment", owner)
        if other is not None and other.status["Status"] in ACTIVE:
            return f"inference experiment {owner} is {other.status['Status']}"
    return ""


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
        "CreateInferenceExperiment": _create,
        "StartInferenceExperiment": _start,
        "StopInferenceExperiment": _stop,
        "UpdateInferenceExperiment": _update_experiment,
    }


def _create(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    now = context.clock.now()
    check_schedule(params.get("Schedule", {}), now, now)
    return create(context, SHADOW_TEST_KIND, params)


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
    """End a running experiment by what shall become of each variant; one that has not begun is
    cancelled and leaves its endpoint alone."""
    before = find(context, SHADOW_TEST_KIND, params["Name"])
    desired = params.get("DesiredModelVariants") or before.spec["ModelVariants"]
    spec = {**before.spec, "ModelVariants": desired}
    kept = before.status.get("BeforeSpec") or {}
    final = _final_config(spec, params["ModelVariantActions"], kept)
    staying = {item["VariantName"] for family in VARIANTS for item in final.get(family, ())}
    _check_models((v for v in desired if v["VariantName"] in staying), context.lookup)

    def change(record: Record) -> Mapping[str, Any]:
        state = record.status["Status"]
        if state == "Created":
            ended = {"Status": "Cancelled", "CompletionTime": context.clock.now()}
            return {**record.status, **ended, "StatusReason": params.get("Reason", "")}
        if state != "Running":
            raise validation(
                f"Inference experiment {record.name} is {state}; only one that is Running or "
                "Created can be stopped."
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


def _final_config(
    spec: Mapping[str, Any], actions: Mapping[str, str], before: Mapping[str, Any]
) -> dict[str, Any]:
    """What the endpoint serves afterwards.

    Raises:
        ApiError: nothing would be left, or an action does not fit its variant.
    """
    mode = spec["ShadowModeConfig"]
    source = mode["SourceModelVariantName"]
    chosen = mode["ShadowModelVariants"][0]
    shadow = chosen["ShadowModelVariantName"]
    named = {*actions, *(item["VariantName"] for item in spec["ModelVariants"])}
    unknown = named - {source, shadow}
    if unknown:
        raise validation(
            f"The experiment has the variants {source} and {shadow}, but "
            f"{', '.join(sorted(unknown))} is named too."
        )
    if actions.get(source) == "Promote":
        raise validation(f"{source} is the production variant; only a shadow can be promoted.")
    weights = {}
    if actions.get(source, "Retain") == "Retain":
        weights[source] = 1.0
    if actions.get(shadow) == "Promote":
        weights[shadow] = 1.0
    if not weights:
        raise validation("No production variant would be left: Retain the source, or Promote.")
    shadows = {}
    if actions.get(shadow) == "Retain":
        shadows[shadow] = chosen["SamplingPercentage"] / 100.0
    missing = {*weights, *shadows} - {item["VariantName"] for item in spec["ModelVariants"]}
    if missing:
        raise validation(
            f"DesiredModelVariants lacks {', '.join(sorted(missing))}, which shall stay; name each "
            "variant that is retained or promoted."
        )
    found: dict[str, Any] = {
        "ProductionVariants": [_variant(spec, *item, before) for item in weights.items()],
        **_own_capture(before),
    }
    if shadows:
        found["ShadowProductionVariants"] = [
            _variant(spec, *item, before) for item in shadows.items()
        ]
    return found


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
        now = context.clock.now()
        if params.get("Schedule"):
            spec["Schedule"] = {**record.spec.get("Schedule", {}), **spec["Schedule"]}
            check_schedule(spec["Schedule"], record.created, now)
        check_variants(spec, context.lookup)
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
