"""EventBridge's face: what would change nothing in silence is refused, secrets are never shown."""

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.server import Server

pytestmark = pytest.mark.real


def test_buses_events_and_patterns_that_cannot_be_are_refused(server: Server) -> None:
    events = server.client("events")
    pattern = json.dumps({"source": ["x"]})
    name = f"r-{uuid.uuid4().hex[:8]}"
    events.put_rule(Name=name, EventPattern=pattern)
    for ask in (
        lambda: events.describe_rule(Name=name, EventBusName="other"),
        lambda: events.list_rules(EventBusName="other"),
        lambda: events.delete_rule(Name=name, EventBusName="other"),
        lambda: events.disable_rule(Name=name, EventBusName="other"),
        lambda: events.list_targets_by_rule(Rule=name, EventBusName="other"),
        lambda: events.remove_targets(Rule=name, Ids=["x"], EventBusName="other"),
    ):
        with pytest.raises(events.exceptions.ResourceNotFoundException, match="other"):
            ask()
    with pytest.raises(ClientError, match="EventPattern is missing"):
        events.put_rule(Name="bad")
    with pytest.raises(ClientError, match="no JSON"):
        events.test_event_pattern(EventPattern=pattern, Event="{")
    entry = {"Source": "x", "DetailType": "y", "Detail": "{}"}
    answer = events.put_events(
        Entries=[entry, {**entry, "Detail": "5"}, {**entry, "EventBusName": "other"}]
    )
    codes = [item.get("ErrorCode") for item in answer["Entries"]]
    assert codes == [None, "MalformedDetail", "ResourceNotFoundException"]
    events.delete_rule(Name=name)


def test_secrets_of_connections_are_kept_and_never_shown(server: Server) -> None:
    events = server.client("events")
    name = f"c-{uuid.uuid4().hex[:8]}"
    secret = {"Key": "X-Token", "Value": "sesame", "IsValueSecret": True}
    plain = {"Key": "X-Plain", "Value": "seen", "IsValueSecret": False}
    given: dict[str, Any] = {
        "BasicAuthParameters": {"Username": "u", "Password": "open"},
        "InvocationHttpParameters": {"HeaderParameters": [secret, plain]},
    }
    made = events.create_connection(Name=name, AuthorizationType="BASIC", AuthParameters=given)
    shown = events.describe_connection(Name=name)["AuthParameters"]
    assert "sesame" not in json.dumps(shown)
    assert "open" not in json.dumps(shown)
    assert plain in shown["InvocationHttpParameters"]["HeaderParameters"]
    with pytest.raises(ClientError, match="ApiKeyAuthParameters is missing"):
        events.create_connection(Name="bad", AuthorizationType="API_KEY", AuthParameters=given)
    body = {"BodyParameters": [{"Key": "a", "Value": "b"}]}
    with pytest.raises(ClientError, match="BodyParameters is not offered"):
        events.create_connection(
            Name="bad", AuthorizationType="BASIC",
            AuthParameters={**given, "InvocationHttpParameters": body},
        )  # fmt: skip
    events.create_api_destination(
        Name=name, ConnectionArn=made["ConnectionArn"], InvocationEndpoint="https://x.example/",
        HttpMethod="POST",
    )  # fmt: skip
    arn = made["ConnectionArn"]
    listed = events.list_api_destinations(ConnectionArn=arn)["ApiDestinations"]
    assert [item["Name"] for item in listed] == [name]
    assert events.list_connections(NamePrefix=name, ConnectionState="CREATING")["Connections"] == []
