"""Rules of composite alarms: the grammar, and what is refused."""

import pytest

from loopwright.aws.alarm_composite import Malformed, read_rule
from loopwright.aws.alarm_rules import checked_composite
from loopwright.wire.errors import ApiError

STATES = {"a": "ALARM", "o": "OK", "i": "INSUFFICIENT_DATA", "with space": "ALARM"}


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("ALARM(a)", True),
        ("ALARM(o)", False),
        ('ALARM("with space")', True),
        ("ALARM(arn:aws:cloudwatch:us-east-1:123456789012:alarm:a)", True),
        ("INSUFFICIENT_DATA(i) AND OK(o)", True),
        ("ALARM(a) AND NOT OK(o)", False),
        ("NOT ALARM(o) AND ALARM(a)", True),
        # AND binds closer than OR.
        ("ALARM(a) OR ALARM(o) AND FALSE", True),
        ("(ALARM(a) OR ALARM(o)) AND FALSE", False),
        ("NOT (ALARM(o) OR FALSE)", True),
        ("not not true", True),
        (" ALARM ( a )or(FALSE) ", True),
    ],
)
def test_rules(rule: str, holds: bool) -> None:
    assert read_rule(rule).holds(STATES.__getitem__) is holds


def test_the_alarms_that_a_rule_is_about() -> None:
    assert read_rule('ALARM(a) OR OK("b") AND NOT ALARM(a)').names == ("a", "b")


@pytest.mark.parametrize(
    "rule",
    ["", "ALARM", "ALARM()", "ALARM(a) ALARM(b)", "(ALARM(a)", "ALARM(a))", "AND ALARM(a)",
     "ALARM(a) OR", "NOT", "BROKEN(a)", "ALARM(a) XOR OK(b)", "TRUE" + " AND TRUE" * 300,
     " OR ".join(f"ALARM(a{n})" for n in range(101))],
)  # fmt: skip
def test_what_is_no_rule(rule: str) -> None:
    with pytest.raises(Malformed):
        read_rule(rule)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"AlarmRule": "ALARM(b)"}, r"alarms \['b'\] in the alarm rule do not exist"),
        ({"AlarmRule": "ALARM(c) OR ALARM(a)"}, "about c itself"),
        ({"AlarmRule": "ALARM(a"}, "AlarmRule cannot be read"),
        ({"ActionsSuppressor": "a"}, "ActionsSuppressor is 'a'"),
        ({"AlarmActions": ["arn:aws:autoscaling:r:1:scalingPolicy:x:resource/y"]}, "SNS topic"),
    ],
)
def test_settings_that_are_refused(more: dict[str, object], words: str) -> None:
    with pytest.raises(ApiError, match=words):
        checked_composite({"AlarmName": "c", "AlarmRule": "ALARM(a)", **more}, {"a"})
