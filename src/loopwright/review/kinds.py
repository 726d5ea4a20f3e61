"""What the API offers about review: flow definitions and human loops."""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.programs import check_uri
from loopwright.kernel.defaults import Given
from loopwright.kernel.kinds import Kind, Lookup
from loopwright.review.conditions import SOURCES, check_conditions
from loopwright.review.plan import LIFE_S, LIMIT_S, LOOP_FINISHED, plan_loop, plan_rule
from loopwright.wire.errors import validation

LIFE_S_MAX: Final = LIFE_S
LIMIT_S_MAX: Final = 8 * 3600
PRIVATE: Final = ":workteam/private-crowd/"


def check_flow(spec: Mapping[str, Any], lookup: Lookup) -> None:
    """Refuse a flow that could not work as asked.

    Raises:
        ApiError: `ValidationException`.
    """
    config = spec.get("HumanLoopConfig")
    if config is None:
        raise validation("HumanLoopConfig is missing: who reviews, and what they are shown.")
    _check_people(config, lookup)
    check_uri(spec["OutputConfig"]["S3OutputPath"], "OutputConfig.S3OutputPath")
    life_s = config["TaskAvailabilityLifetimeInSeconds"]
    limit_s = config["TaskTimeLimitInSeconds"]
    if life_s > LIFE_S_MAX:
        raise validation(
            f"TaskAvailabilityLifetimeInSeconds is {life_s}; at most {LIFE_S_MAX}: 30 days."
        )
    if limit_s > LIMIT_S_MAX:
        raise validation(f"TaskTimeLimitInSeconds is {limit_s}; at most {LIMIT_S_MAX}: 8 hours.")
    source = spec.get("HumanLoopRequestSource", {}).get("AwsManagedHumanLoopRequestSource")
    activation = spec.get("HumanLoopActivationConfig")
    if activation is None:
        return
    if source is None:
        raise validation(
            "HumanLoopActivationConfig is given without HumanLoopRequestSource: in a custom flow "
            "the caller of StartHumanLoop decides. Leave it out, or put a review rule on an "
            "endpoint (PutReviewRule)."
        )
    conditions = activation["HumanLoopActivationConditionsConfig"]
    check_conditions(conditions["HumanLoopActivationConditions"], SOURCES[source])


def _check_people(config: Mapping[str, Any], lookup: Lookup) -> None:
    team, ui = config["WorkteamArn"], config["HumanTaskUiArn"]
    if PRIVATE not in team:
        raise validation(
            f"WorkteamArn is {team!r}; only private workteams exist here: nobody of a public or a "
            "vendor's workforce would answer. Create one with CreateWorkteam."
        )
    if config.get("PublicWorkforceTaskPrice"):
        raise validation(
            "PublicWorkforceTaskPrice is given, but the workteam is private; leave it out."
        )
    for kind, arn in (("Workteam", team), ("HumanTaskUi", ui)):
        record = lookup.record(kind, arn.rpartition("/")[2])
        if record is None or record.arn != arn:
            raise validation(f"There is no {kind} {arn!r} in this region.")


FLOW_KIND: Final = Kind(
    "FlowDefinition",
    arn="flow-definition",
    state="FlowDefinitionStatus",
    initial_status=lambda spec, now: {"FlowDefinitionStatus": "Active"},
    check=check_flow,
    spec_defaults={
        "HumanLoopConfig": Given(
            {
                "TaskTimeLimitInSeconds": LIMIT_S,
                "TaskAvailabilityLifetimeInSeconds": LIFE_S,
            }
        )
    },
    missing=("ResourceNotFound", "There is no flow definition {name!r} in this region."),
)

LOOP_KIND: Final = Kind(
    "HumanLoop",
    arn="human-loop",
    state="HumanLoopStatus",
    finished=LOOP_FINISHED,
    initial_status=lambda spec, now: {"HumanLoopStatus": "InProgress"},
    planner=plan_loop,
    missing=("ResourceNotFoundException", "There is no human loop {name!r} in this region."),
    stop_when=frozenset({"InProgress"}),
    delete_when=LOOP_FINISHED,
)


RULE_KIND: Final = Kind(
    "ReviewRule",
    arn="review-rule",
    planner=plan_rule,
    name_as="RuleName",
    missing=("ResourceNotFound", "There is no review rule {name!r} in this region."),
)
"""Which answers of an endpoint start loops. Its spec is `PutReviewRule`'s request and, as `Flow`,
what the flow definition said then."""


def review_kinds() -> list[Kind]:
    """The kinds of this room."""
    return [FLOW_KIND, LOOP_KIND, RULE_KIND]
