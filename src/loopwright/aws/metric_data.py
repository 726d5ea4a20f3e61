"""GetMetricData: datapoints of metrics and of expressions over them, in pages."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any, Final

from loopwright.aws.metric_labels import About, Malformed, check_label, read_zone, shown_label
from loopwright.aws.metric_math.queries import (
    Answer,
    LabelOf,
    Query,
    Refused,
    answers,
    name_of,
    read_queries,
)
from loopwright.aws.metric_math.values import Series
from loopwright.aws.statistics import Watched, whole_periods
from loopwright.kernel.verbs import Context
from loopwright.wire.errors import ApiError

QUERIES_MAX: Final = 500
DATAPOINTS_MAX: Final = 100_800
DROPPED: Final = {
    "Code": "ArithmeticError",
    "Value": "One or more data-points have been dropped due to non-numeric values "
    "(NaN, -Infinite, +Infinite)",
}
Points = list[tuple[float, float]]
SeriesOf = Callable[[str, Watched, int, tuple[float, float]], Points]
"""`series_of(region, metric, period_s, window)`: datapoints of a metric, oldest first."""


def get_metric_data(
    series_of: SeriesOf, context: Context, params: dict[str, Any]
) -> dict[str, Any]:
    """Answer the operation.

    Raises:
        ApiError: `ValidationError` naming the query and the rule, or `InvalidNextToken`.
    """
    items = params["MetricDataQueries"]
    if len(items) > QUERIES_MAX:
        raise _bad(f"MetricDataQueries has {len(items)} queries; the most is {QUERIES_MAX}.")
    now = context.clock.now()
    window = _seconds(params["StartTime"]), _seconds(params["EndTime"])
    if window[0] >= window[1]:
        raise _bad("StartTime must be before EndTime.")
    most = params.get("MaxDatapoints")
    if most is not None and most < 1:
        raise _bad(f"MaxDatapoints is {most}; it must be at least 1.")
    try:
        label_of = partial(
            _label, context, read_zone((params.get("LabelOptions") or {}).get("Timezone"))
        )
        for item in items:
            check_label(item.get("Label") or "")
        found = answers(
            read_queries(items, context.kinds.account),
            lambda metric, period_s, window: series_of(
                context.region, metric, period_s, whole_periods(window, period_s, now)
            ),
            window,
            label_of,
        )
    except (Refused, Malformed) as error:
        raise _bad(str(error)) from None
    results = [
        _Result(answer, series, label_of, params)
        for item in items
        if (answer := found[item["Id"]]).query.returned
        for series in answer.series
    ]
    shown, token = _page(
        results, params.get("NextToken"), min(most or DATAPOINTS_MAX, DATAPOINTS_MAX)
    )
    return {"MetricDataResults": shown, "NextToken": token, "Messages": []}


class _Result:
    """One series of the answer, in the order that was asked for."""

    def __init__(
        self, answer: Answer, series: Series, label_of: LabelOf, params: Mapping[str, Any]
    ) -> None:
        self.points: Points = list(series.points.items())
        self.descending = params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        if self.descending:
            self.points.reverse()
        query = answer.query
        label = series.label if query.metric is not None else label_of(query, series.points)
        self.told = {
            "Id": query.name,
            # One of several series also has its own name.
            "Label": f"{label} {series.label}".strip() if query.is_array else label,
            "Messages": [DROPPED] if answer.dropped else [],
        }

    def after(self, at: float | None) -> Points:
        """The datapoints that come after a time in this order; None: all."""
        if at is None:
            return self.points
        return [
            point for point in self.points if (point[0] < at if self.descending else point[0] > at)
        ]

    def shown(self, points: Points, whole: bool) -> dict[str, Any]:
        """As a member of the answer."""
        return {
            **self.told,
            "Timestamps": [at for at, _ in points],
            "Values": [value for _, value in points],
            "StatusCode": "Complete" if whole else "PartialData",
        }


def _label(context: Context, zone: timezone, query: Query, points: Mapping[float, float]) -> str:
    """The query's label as given, with values in it."""
    metric = query.metric
    properties = {
        "AccountId": context.kinds.account,
        "Region": context.region,
        "Period": str(query.period_s),
    }
    if metric is not None:
        properties |= {
            "MetricName": metric.name,
            "Namespace": metric.namespace,
            "Stat": metric.statistic,
        }
        properties |= {f"Dim.{d['Name']}": d["Value"] for d in metric.dimensions}
    own = name_of(query, points)
    about = About(points, own, properties, context.clock.now())
    return shown_label(own if query.label is None else query.label, about, zone)


def _page(
    results: Sequence[_Result], token: str | None, most: int
) -> tuple[list[dict[str, Any]], str | None]:
    """The results with the datapoints of one page, and the token of the next or None.

    A token says behind which datapoint of which result the page begins, so that datapoints which
    came in meanwhile move nothing.
    """
    first, begin = _read_token(token)
    shown = []
    following = None
    for number, result in enumerate(results):
        left = result.after(begin if number == first else None) if number >= first else []
        taken = left[: most if following is None else 0]
        most -= len(taken)
        whole = len(taken) == len(left)
        if not whole and following is None:
            at = taken[-1][0] if taken else begin if number == first else None
            following = f"{number}:{'' if at is None else repr(at)}"
        shown.append(result.shown(taken, whole))
    return shown, following


def _read_token(token: str | None) -> tuple[int, float | None]:
    if not token:
        return 0, None
    number, _, at = token.partition(":")
    try:
        return int(number), float(at) if at else None
    except ValueError:
        raise ApiError(
            "InvalidNextToken", f"NextToken is {token!r}; give what the page before answered."
        ) from None


def _seconds(moment: datetime | float) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


def _bad(text: str) -> ApiError:
    return ApiError("ValidationError", text)
