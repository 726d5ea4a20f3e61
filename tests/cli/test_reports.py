"""What the reports of experiments and bandits say in words."""

import math
from typing import Any

import pytest

from loopwright.commands.online import bandit_page, experiment_page, outcomes_needed, verdicts
from loopwright.hosting.experiments import state as experiment
from tests import reports


def described(**changed: Any) -> dict[str, Any]:
    """An experiment of two variants of which the figures are given."""
    treatment = {
        "VariantName": "B", "Requests": 1000, "Outcomes": 1000, "Mean": 0.231, "ErrorRate": 0.0,
        "P95Latency": 8.0, "Effect": 0.031, "EffectLow": 0.012, "EffectHigh": 0.05,
        "PValue": 0.001, "Significant": True, "GuardErrorsPValue": 1.0, "GuardLatencyPValue": 1.0,
    }  # fmt: skip
    own = {name: changed.pop(name) for name in list(changed) if name in treatment}
    control = {"VariantName": "A", "Requests": 1000, "Outcomes": 1000, "Mean": 0.2,
               "ErrorRate": 0.0, "P95Latency": 8.0}  # fmt: skip
    return {
        "OnlineExperimentName": "checkout", "EndpointName": "ranker", "ControlVariantName": "A",
        "TreatmentVariantNames": ["B"], "Status": "Running", "TrippedGuards": [], "Effects": [],
        "Variants": [control, {**treatment, **own}], **changed,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "says", "then"),
    [
        (
            {},
            "B answers better than A by 3.1 points (between 1.2 and 5.0).",
            "Promote B: give it all the traffic",
        ),
        (
            {"EffectLow": -0.01},
            "B answers better than A by 3.1 points (between −1.0 and 5.0).",
            "That there is a difference is known (p is 0.001), its size not yet",
        ),
        (
            {"Effect": -0.031, "EffectLow": -0.05, "EffectHigh": -0.012},
            "B answers worse than A by 3.1 points (between −5.0 and −1.2).",
            "Keep A.",
        ),
        (
            {"Significant": False, "PValue": 0.3, "EffectLow": -0.02},
            "No difference between B and A is seen yet (between −2.0 and 5.0).",
            "more outcomes of both together are needed to see a difference of 3.1 points",
        ),
        (
            {"Significant": False, "PValue": 1.0, "Effect": 0.0, "EffectLow": -0.02},
            "No difference between B and A is seen yet (between −2.0 and 5.0).",
            "needed to see a difference of 1.0 points. Let it run; until then keep A.",
        ),
        (
            {"Significant": False, "PValue": 0.3, "Status": "Stopped"},
            "No difference between B and A is seen yet",
            "It has ended: keep A",
        ),
        ({"Outcomes": 0}, "Nothing can be said of B yet: no outcomes of B are in.", "InferenceId"),
        (
            {"TrippedGuards": [{"VariantName": "B", "Guard": "errors"}]},
            "A guard tripped: B has more errors than A.",
            "It still gets its traffic: set its weight to 0",
        ),
        (
            {
                "TrippedGuards": [
                    {"VariantName": "B", "Guard": "errors"},
                    {"VariantName": "B", "Guard": "latency"},
                ],
                "GuardAction": "RemoveTraffic",
            },
            "A guard tripped: B has more errors and more slow answers than A.",
            "Its traffic was taken away. Mend B",
        ),
        (
            {
                "Outcome": {"Type": "Numeric", "Minimum": 0.0, "Maximum": 20.0},
                "Effect": 1.5,
                "EffectLow": 0.25,
                "EffectHigh": 3.0,
            },
            "B answers better than A by 1.5 (between 0.25 and 3).",
            "Promote B",
        ),
    ],
)
def test_a_verdict_and_what_to_do(changed: dict[str, Any], says: str, then: str) -> None:
    found = described(**changed)
    (verdict,) = verdicts(found)
    assert verdict.says.startswith(says), verdict.says
    assert then in verdict.next, verdict.next
    page = experiment_page(found)
    assert says in page and "The interval may still include 0" in page
    assert "EffectLow" not in page and "GuardErrors" not in page


def test_what_is_bad_is_said_first() -> None:
    found = reports.online({"A": 0.2, "B": 0.6, "C": 0.2}, 900)
    found["TrippedGuards"] = [{"VariantName": "C", "Guard": "latency"}]
    assert [verdict.mood for verdict in verdicts(found)] == ["bad", "good"]


def test_the_number_of_outcomes_that_are_missing_is_about_right() -> None:
    """As many outcomes as it says do decide most experiments of that size."""
    setting = experiment.setting_of({"ControlVariantName": "A", "TreatmentVariantNames": ["B"]})
    control, treatment = experiment.report(setting, experiment.empty_state(setting))
    early = {**control, "Outcomes": 10, "Mean": 0.2}
    seen = {**treatment, "Outcomes": 10, "Effect": 0.2}
    more = outcomes_needed(early, seen, 0.2, 0.05)
    assert more is not None and 100 < more < 2000
    decided = 0
    for seed in range(20):
        ended = reports.online({"A": 0.2, "B": 0.4}, 20 + math.ceil(2 * more), seed)
        decided += ended["Variants"][1]["Significant"]
    assert decided >= 14
    # What is known counts, and a rate cannot leave 0 to 1.
    closer = outcomes_needed(early, {**seen, "PValue": 0.06}, 0.2, 0.05)
    assert closer is not None and closer <= more
    assert outcomes_needed({**early, "Mean": 0.5}, seen, 0.6, 0.05) is None


def test_a_bandit_s_page_says_who_leads() -> None:
    page = bandit_page(reports.bandit())
    assert "ThompsonSampling on ranker" in page
    assert "B gets 89.6 % of the traffic now; its mean reward is 0.31 (A 0.101)." in page
    assert "No rewards are in yet" in bandit_page(reports.bandit(0))
