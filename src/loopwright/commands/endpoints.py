"""endpoint show, experiment show, bandit show: what serves, how it goes, who is better."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.exceptions import ClientError
from rich.console import Group
from rich.table import Table
from rich.text import Text

from loopwright.commands.arguments import Arguments
from loopwright.commands.names import named
from loopwright.commands.online import bandit_page, experiment_page
from loopwright.commands.output import client, look, moment, write_file
from loopwright.kernel.clock import clock_of

WINDOW_S: Final = 60
EVENTS_SHOWN: Final = 8


def show_endpoint(arguments: Arguments) -> int:
    """An endpoint: variants, weights, instances, rates, latency, an update's step; live."""
    with named(arguments.home, arguments.name, "Endpoint"):
        return look(arguments, lambda: _endpoint(arguments), _endpoint_screen)


def show_experiment(arguments: Arguments) -> int:
    """An online experiment: each variant's figures, effects, guards; live, or as an HTML file."""
    with named(arguments.home, arguments.name, "OnlineExperiment"):
        if arguments.html:
            return write_file(arguments.html, experiment_page(_experiment(arguments)))
        return look(arguments, lambda: _experiment(arguments), _experiment_screen)


def show_bandit(arguments: Arguments) -> int:
    """A bandit: what it knows, the weights that it gives; live, or as an HTML file."""
    with named(arguments.home, arguments.name, "Endpoint"):
        if arguments.html:
            return write_file(arguments.html, bandit_page(_bandit(arguments)))
        return look(arguments, lambda: _bandit(arguments), _bandit_screen)


# Endpoints


def _endpoint(arguments: Arguments) -> dict[str, Any]:
    found = client(arguments.home, "sagemaker").describe_endpoint(EndpointName=arguments.name)
    found.pop("ResponseMetadata", None)
    variants = [
        *found.get("ProductionVariants", ()),
        *found.get("ShadowProductionVariants", ()),
        *found.get("PendingDeploymentSummary", {}).get("ProductionVariants", ()),
    ]
    names = dict.fromkeys(variant["VariantName"] for variant in variants)
    own = client(arguments.home, "loopwright")
    events = own.list_events(ResourceArn=found["EndpointArn"], MaxResults=1000)["Events"]
    shadows = own.describe_shadow_comparison(EndpointName=arguments.name)["Comparisons"]
    return {
        "endpoint": found,
        "rates": {name: _rates(arguments, name) for name in names},
        "shadows": shadows,
        "bandit": _bandit_or_none(own, arguments.name),
        "events": events[-EVENTS_SHOWN:],
    }


def _bandit_or_none(own: Any, name: str) -> dict[str, Any] | None:
    try:
        found = dict(own.describe_bandit(EndpointName=name))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFound":
            return None
        raise
    found.pop("ResponseMetadata", None)
    return found


def _rates(arguments: Arguments, variant: str) -> dict[str, float]:
    """Requests and errors a second, mean and largest latency in ms, of the last minute."""
    watch = client(arguments.home, "cloudwatch")
    dimensions = [
        {"Name": "EndpointName", "Value": arguments.name},
        {"Name": "VariantName", "Value": variant},
    ]
    end = datetime.fromtimestamp(clock_of(arguments.home).now(), UTC)

    def of(metric: str, statistic: str) -> list[float]:
        points = watch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=dimensions,
            StartTime=end - timedelta(seconds=WINDOW_S),
            EndTime=end,
            Period=60,
            Statistics=[statistic],
        )["Datapoints"]
        return [point[statistic] for point in points]

    latencies = of("ModelLatency", "Sum")
    answered = sum(of("ModelLatency", "SampleCount"))
    errors = sum(of("Invocation4XXErrors", "Sum")) + sum(of("Invocation5XXErrors", "Sum"))
    return {
        "requests_s": sum(of("Invocations", "Sum")) / WINDOW_S,
        "errors_s": errors / WINDOW_S,
        "latency_ms": sum(latencies) / answered / 1000 if answered else 0.0,
        "latency_most_ms": max(of("ModelLatency", "Maximum"), default=0.0) / 1000,
    }


def _endpoint_screen(state: Mapping[str, Any]) -> Group:
    found = state["endpoint"]
    head = f"{found['EndpointName']}  {found['EndpointStatus']}  {found['EndpointConfigName']}"
    lines: list[Any] = [Text(head, "bold")]
    if found.get("FailureReason"):
        lines.append(Text(found["FailureReason"], "red"))
    lines.append(_variants_table("Production", found.get("ProductionVariants", ()), state))
    pending = found.get("PendingDeploymentSummary")
    if pending:
        title = f"Update to {pending['EndpointConfigName']}"
        lines.append(_variants_table(title, pending["ProductionVariants"], state))
    if found.get("ShadowProductionVariants"):
        lines.append(_variants_table("Shadow", found["ShadowProductionVariants"], state))
    for pair in state["shadows"]:
        lines.append(_shadow_line(pair))
    if state["bandit"]:
        lines.append(_bandit_screen(state["bandit"]))
    lines += [Text(f"{moment(item['Time'])}  {item['Text']}", "grey50") for item in state["events"]]
    return Group(*lines)


def _variants_table(title: str, variants: Any, state: Mapping[str, Any]) -> Table:
    table = Table("variant", "weight", "instances", "requests/s", "errors/s", "latency, largest",
                  "status", title=title, title_justify="left")  # fmt: skip
    for item in variants:
        rate = state["rates"].get(item["VariantName"], {})
        status = (item.get("VariantStatus") or [{}])[0]
        weight = f"{item['CurrentWeight']:g}"
        table.add_row(
            item["VariantName"],
            weight,
            f"{item['CurrentInstanceCount']} of {item['DesiredInstanceCount']}",
            f"{rate.get('requests_s', 0):.1f}",
            f"{rate.get('errors_s', 0):.2f}",
            f"{rate.get('latency_ms', 0):.1f} ms, {rate.get('latency_most_ms', 0):.1f} ms",
            f"{status.get('Status', '')} {status.get('StatusMessage', '')}".strip(),
        )
    return table


def _shadow_line(pair: Mapping[str, Any]) -> Text:
    agreed = f"{pair['Agreement']:.1%}" if "Agreement" in pair else "none answered"
    return Text(
        f"Shadow {pair['ShadowVariantName']} to {pair['ProductionVariantName']}: {pair['Copied']} "
        f"copied, {pair['Dropped']} dropped, agreement {agreed}"
    )


# Experiments


def _experiment(arguments: Arguments) -> dict[str, Any]:
    own = client(arguments.home, "loopwright")
    found = dict(own.describe_online_experiment(OnlineExperimentName=arguments.name))
    found.pop("ResponseMetadata", None)
    return found


def _experiment_rows(found: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for item in found["Variants"]:
        row = [
            item["VariantName"],
            str(item["Requests"]),
            str(item["Outcomes"]),
            f"{item['Mean']:.4g}" if "Mean" in item else "",
            f"{item['ErrorRate']:.2%}",
            f"{item['P95Latency']:.1f} ms",
        ]
        if "PValue" in item:
            row += [
                f"{item['Effect']:+.4g} [{item['EffectLow']:+.4g}, {item['EffectHigh']:+.4g}]",
                f"{item['PValue']:.2g}" + (" *" if item["Significant"] else ""),
                f"{item['GuardErrorsPValue']:.2g}, {item['GuardLatencyPValue']:.2g}",
            ]
        else:
            row += ["control", "", ""]
        rows.append(row)
    return rows


COLUMNS: Final = ("variant", "requests", "outcomes", "mean", "errors", "p95 latency",
                  "effect, confidence sequence", "p", "guards' p: errors, latency")  # fmt: skip


def _experiment_screen(found: Mapping[str, Any]) -> Group:
    alpha = found.get("Alpha", 0.05)
    table = Table(*COLUMNS)
    for row in _experiment_rows(found):
        table.add_row(*row)
    guards = [f"{item['VariantName']} by {item['Guard']}" for item in found["TrippedGuards"]]
    lines: list[Any] = [
        Text(f"{found['OnlineExperimentName']}  {found['Status']}  on {found['EndpointName']}"),
        table,
        Text(f"* different at a level of {alpha:g}, however often one looks", "grey50"),
    ]
    if guards:
        lines.append(Text(f"Worse than the control: {', '.join(guards)}", "red"))
    return Group(*lines)


# Bandits


def _bandit(arguments: Arguments) -> dict[str, Any]:
    found = dict(client(arguments.home, "loopwright").describe_bandit(EndpointName=arguments.name))
    found.pop("ResponseMetadata", None)
    return found


def _bandit_screen(found: Mapping[str, Any]) -> Group:
    shares = found["Allocations"][-1]["Shares"] if found["Allocations"] else {}
    table = Table("variant", "rewards", "mean", "share", title=f"Bandit: {found['Policy']}",
                  title_justify="left")  # fmt: skip
    for arm in found["Arms"]:
        share = shares.get(arm["VariantName"])
        table.add_row(
            arm["VariantName"],
            f"{arm['Rewards']:.4g}",
            f"{arm['Mean']:.4g}" if "Mean" in arm else "",
            "" if share is None else f"{share:.1%}",
        )
    return Group(table)
