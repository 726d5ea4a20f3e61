"""The HTML reports of online experiments and bandits: what they say, in words and pictures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from loopwright.hosting.experiments.evalues import requests_needed
from loopwright.pages import charts, duration, figure, moment, render
from loopwright.pages.charts import Chart, Mark

GUARDS: Final = {"errors": "more errors", "latency": "more slow answers"}
COLUMNS: Final = (
    "variant", "requests", "outcomes", "mean", "errors", "95 % within", "difference", "lower end",
    "upper end", "p", "p, errors", "p, slowness",
)  # fmt: skip
SETTLED: Final = 0.2
"""The part of the outcomes whose intervals, far too wide yet, do not set the picture's scale."""
SMALLEST: Final = 0.01
"""A difference of rates that is worth knowing when none is seen."""


@dataclass(frozen=True)
class Verdict:
    """What an experiment says of one treatment, and what to do; `mood`: good, bad or neither."""

    says: str
    next: str
    mood: str = ""


# Experiments


def experiment_page(found: Mapping[str, Any]) -> str:
    """The report on what `DescribeOnlineExperiment` answers."""
    alpha = found.get("Alpha", 0.05)
    outcome = found.get("Outcome", {})
    binary = outcome.get("Type", "Binary") == "Binary"
    facts = [
        ("Endpoint", found["EndpointName"]),
        ("Control", found["ControlVariantName"]),
        ("Outcomes", _kind(outcome) + "; more is better"),
        ("Level", f"{alpha:g} for each comparison and each guard"),
        ("A guard that trips", _guard_action(found)),
        ("Created", moment(found.get("CreationTime"))),
    ]
    if found.get("StoppedTime") is not None:
        facts.append(("Stopped", moment(found["StoppedTime"])))
    drawn = [(name, _effects(found, name, binary)) for name in found["TreatmentVariantNames"]]
    return render(
        "experiment",
        title=f"Experiment {found['OnlineExperimentName']} on {found['EndpointName']}",
        status=found["Status"].lower(),
        verdicts=verdicts(found),
        facts=facts,
        columns=COLUMNS,
        rows=[_row(item, binary) for item in found["Variants"]],
        pictures=[
            (f"{name} less {found['ControlVariantName']}", picture)
            for name, picture in drawn
            if picture is not None
        ],
        alpha=f"{alpha:g}",
        sure=f"{1 - alpha:g}",
    )


def _kind(outcome: Mapping[str, Any]) -> str:
    if outcome.get("Type", "Binary") == "Binary":
        return "yes or no (0 or 1)"
    return f"numbers from {outcome['Minimum']:g} to {outcome['Maximum']:g}"


def _guard_action(found: Mapping[str, Any]) -> str:
    if found.get("GuardAction") == "RemoveTraffic":
        return "takes the traffic from the treatment"
    return "is told, nothing else"


def verdicts(found: Mapping[str, Any]) -> list[Verdict]:
    """One for each treatment, the tripped guards first.

    Args:
        found: What `DescribeOnlineExperiment` answers.
    """
    by_name = {item["VariantName"]: item for item in found["Variants"]}
    control = by_name[found["ControlVariantName"]]
    tripped: dict[str, list[str]] = {}
    for item in found["TrippedGuards"]:
        tripped.setdefault(item["VariantName"], []).append(item["Guard"])
    given = [
        _tripped(found, name, tripped[name])
        if name in tripped
        else _compared(found, control, by_name[name])
        for name in found["TreatmentVariantNames"]
    ]
    return sorted(given, key=lambda verdict: verdict.mood != "bad")


def _tripped(found: Mapping[str, Any], name: str, guards: Sequence[str]) -> Verdict:
    worse = " and ".join(GUARDS.get(guard, guard) for guard in guards)
    says = f"A guard tripped: {name} has {worse} than {found['ControlVariantName']}."
    if found.get("GuardAction") == "RemoveTraffic":
        then = f"Its traffic was taken away. Mend {name} and begin a new experiment."
    else:
        then = (
            "It still gets its traffic: set its weight to 0 "
            "(update_endpoint_weights_and_capacities), mend it and begin a new experiment."
        )
    return Verdict(says, then, "bad")


def _compared(
    found: Mapping[str, Any], control: Mapping[str, Any], item: Mapping[str, Any]
) -> Verdict:
    ours, theirs = found["ControlVariantName"], item["VariantName"]
    binary = found.get("Outcome", {}).get("Type", "Binary") == "Binary"
    if not control["Outcomes"] or not item["Outcomes"]:
        missing = " and ".join(v["VariantName"] for v in (control, item) if not v["Outcomes"])
        return Verdict(
            f"Nothing can be said of {theirs} yet: no outcomes of {missing} are in.",
            "Give each request an InferenceId and tell its outcome (record_outcome or "
            "import_outcomes).",
        )
    effect, low, high = item["Effect"], item["EffectLow"], item["EffectHigh"]
    between = f"between {_size(low, binary)} and {_size(high, binary)}"
    if not item["Significant"]:
        return _open(found, control, item, between)
    if effect > 0:
        says = f"{theirs} answers better than {ours} by {_amount(effect, binary)} ({between})."
        then = (
            f"Promote {theirs}: give it all the traffic (update_endpoint_weights_and_capacities)."
        )
    else:
        says = f"{theirs} answers worse than {ours} by {_amount(-effect, binary)} ({between})."
        then = f"Keep {ours}."
    if low <= 0 <= high:
        then += (
            f" That there is a difference is known (p is {_p(item['PValue'])}), its size not yet: "
            "let the experiment run on if that matters."
        )
    return Verdict(says, then, "good" if effect > 0 else "bad")


def _open(
    found: Mapping[str, Any], control: Mapping[str, Any], item: Mapping[str, Any], between: str
) -> Verdict:
    """No difference yet, and how many outcomes would show one."""
    ours, theirs = control["VariantName"], item["VariantName"]
    binary = found.get("Outcome", {}).get("Type", "Binary") == "Binary"
    says = f"No difference between {theirs} and {ours} is seen yet ({between})."
    if found["Status"] != "Running":
        return Verdict(says, f"It has ended: keep {ours}, or begin a new one that runs longer.")
    then = f"Let it run; until then keep {ours}."
    if binary:
        size = max(abs(item["Effect"]), SMALLEST)
        more = outcomes_needed(control, item, size, found.get("Alpha", 0.05))
        if more is not None:
            then = (
                f"About {_round(more):,} more outcomes of both together are needed to see a "
                f"difference of {_amount(size, True)}"
                + (", as large as it looks now. " if size > SMALLEST else ". ")
                + then
            )
    return Verdict(says, then)


def outcomes_needed(
    control: Mapping[str, Any], item: Mapping[str, Any], size: float, alpha: float
) -> float | None:
    """About how many more outcomes a difference of rates would need; None when it cannot be.

    The evidence so far counts: what is missing of it, or of the whole number that such a test
    takes (`evalues.requests_needed`), whichever is more.
    """
    seen = control["Outcomes"] + item["Outcomes"]
    base = min(max(control["Mean"], SMALLEST / 2), 1 - SMALLEST / 2)
    up = item["Effect"] >= 0
    other = base + (size if up else -size)
    if not 0 < other < 1:
        other = base - (size if up else -size)
    if not 0 < other < 1:
        return None
    share = min(max(item["Outcomes"] / seen, 0.01), 0.99)
    whole = requests_needed(base, other, share, alpha)
    if not math.isfinite(whole):
        return None
    known = min(1.0, math.log(1 / max(item["PValue"], alpha)) / math.log(1 / alpha))
    return float(max(whole - seen, whole * (1 - known), 1.0))


def _round(value: float) -> int:
    """Up to two digits that count."""
    power = int(10 ** max(0, math.floor(math.log10(value)) - 1))
    return math.ceil(value / power) * power


def _size(value: float, binary: bool) -> str:
    return f"{100 * value:.1f}".replace("-", "−") if binary else figure(value)


def _amount(value: float, binary: bool) -> str:
    return f"{_size(value, binary)} points" if binary else _size(value, binary)


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "below 0.0001"


def _row(item: Mapping[str, Any], binary: bool) -> list[str]:
    mean = item.get("Mean")
    cells = [
        item["VariantName"],
        f"{item['Requests']:,}",
        f"{item['Outcomes']:,}",
        "" if mean is None else f"{100 * mean:.1f} %" if binary else figure(mean),
        f"{item['ErrorRate']:.2%}".replace("%", " %"),
        f"{item['P95Latency']:.1f} ms",
    ]
    if "PValue" not in item:
        return [*cells, "control", "", "", "", "", ""]
    return [
        *cells,
        _amount(item["Effect"], binary),
        _size(item["EffectLow"], binary),
        _size(item["EffectHigh"], binary),
        _p(item["PValue"]),
        _p(item["GuardErrorsPValue"]),
        _p(item["GuardLatencyPValue"]),
    ]


def _effects(found: Mapping[str, Any], name: str, binary: bool) -> Chart | None:
    """The difference over outcomes, with its interval as a band."""
    points = [item for item in found["Effects"] if item["VariantName"] == name]
    if len(points) < 2:
        return None
    part = 100.0 if binary else 1.0
    rows = [
        (item["Outcomes"], *(part * item[m] for m in ("EffectLow", "Effect", "EffectHigh")))
        for item in points
    ]
    late = [row for row in rows if row[0] >= SETTLED * rows[-1][0]]
    x = charts.Scale(rows[0][0], rows[-1][0])
    y = charts.scale([0.0, *(value for row in late for value in row[1:])])
    unit = "difference in points" if binary else "difference"
    low, middle, high = ([(row[0], row[n]) for row in rows] for n in (1, 2, 3))
    dots = [
        Mark(
            charts.dot((at, effect), x, y), "dot",
            f"after {at:,} outcomes: {figure(effect)}, between {figure(below)} and {figure(above)}",
        )
        for at, below, effect, above in rows
    ]  # fmt: skip
    last = rows[-1]
    return Chart(
        f"The difference between {name} and {found['ControlVariantName']} over {last[0]} outcomes; "
        f"at the end {figure(last[2])}, between {figure(last[1])} and {figure(last[3])}",
        "outcomes",
        unit,
        x.ticks(),
        y.ticks(),
        [
            Mark(charts.band(low, high, x, y), "area"),
            Mark(charts.line(middle, x, y), "line"),
            *dots,
        ],
        [("difference, with its interval as a band", 0)],
        charts.WHOLE - y.place(0.0),
    )


# Bandits


def bandit_page(found: Mapping[str, Any]) -> str:
    """The report on what `DescribeBandit` answers."""
    shares = found["Allocations"][-1]["Shares"] if found["Allocations"] else {}
    rows = [
        [
            arm["VariantName"],
            figure(arm["Rewards"]),
            figure(arm.get("Mean")) or "–",
            _percent(shares.get(arm["VariantName"])),
        ]
        for arm in found["Arms"]
    ]
    return render(
        "bandit",
        title=f"{found['Policy']} on {found['EndpointName']}",
        status=str(found.get("Status", "Running")).lower(),
        verdict=_standing(found, shares),
        facts=list(_settings(found)),
        rows=rows,
        picture=_shares(found),
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _settings(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Policy", found["Policy"]
    if "FloorShare" in found:
        yield "Each variant keeps", _percent(found["FloorShare"])
    if "Discount" in found:
        yield "Discount", f"{found['Discount']:g}"
    if "Epsilon" in found:
        yield "Epsilon", f"{found['Epsilon']:g}"
    if "OutcomeWindowInSeconds" in found:
        yield "Waits for an outcome", duration(found["OutcomeWindowInSeconds"])
    yield "Rewards", _kind(found.get("Reward", {})) + "; more is better"
    if found.get("CreationTime") is not None:
        yield "Created", moment(found["CreationTime"])


def _standing(found: Mapping[str, Any], shares: Mapping[str, float]) -> str:
    known = [arm for arm in found["Arms"] if "Mean" in arm]
    if not known or not shares:
        return "No rewards are in yet: the variants keep the weights that they have."
    first = max(shares, key=lambda name: shares[name])
    means = {arm["VariantName"]: arm["Mean"] for arm in known}
    others = ", ".join(f"{name} {figure(mean)}" for name, mean in means.items() if name != first)
    text = f"{first} gets {_percent(shares[first])} of the traffic now"
    if first in means:
        text += f"; its mean reward is {figure(means[first])}"
        text += f" ({others})" if others else ""
    return f"{text}."


def _seconds(at: Any) -> float:
    return at.timestamp() if isinstance(at, datetime) else float(at)


def _shares(found: Mapping[str, Any]) -> Chart | None:
    """The shares over time as areas, one upon the other."""
    told = found["Allocations"]
    if not told:
        return None
    start = _seconds(told[0]["Time"])
    times = [_seconds(item["Time"]) - start for item in told]
    if len(times) == 1 or times[-1] <= times[0]:
        times, told = [0.0, 1.0], [told[-1], told[-1]]
    x, y = charts.Scale(times[0], times[-1]), charts.Scale(0.0, 100.0)
    below = [0.0] * len(times)
    marks, legend = [], []
    for number, name in enumerate(found["VariantNames"]):
        colour = number % charts.COLOURS
        above = [
            at + 100 * item["Shares"].get(name, 0.0) for at, item in zip(below, told, strict=True)
        ]
        low, high = (list(zip(times, side, strict=True)) for side in (below, above))
        marks.append(Mark(charts.band(low, high, x, y, steps=True), "area", name, colour))
        marks.append(Mark(charts.line(high, x, y, steps=True), "thin", name, colour))
        legend.append((name, colour))
        below = above
    ends = [*times[1:], times[-1]]
    for at, until, item in zip(times, ends, told, strict=True):
        shares = ", ".join(f"{name} {_percent(share)}" for name, share in item["Shares"].items())
        title = f"{moment(item['Time'])}, {item['Rewards']:g} rewards: {shares}"
        marks.append(Mark(charts.column(at, until, x), "sense", title))
    return Chart(
        f"Shares of the traffic over {duration(times[-1])}; at the end "
        + ", ".join(f"{name} {_percent(share)}" for name, share in told[-1]["Shares"].items()),
        f"time since {moment(start)}",
        "share in per cent",
        x.times(),
        y.ticks(),
        marks,
        legend,
    )
