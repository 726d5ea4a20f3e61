"""The HTML report of a tuning job: one file that needs no network.

Plotly draws it: its parallel coordinates can be brushed, which a still picture cannot. Importance
is the permutation importance of a random forest over the trials (Breiman 2001), by scikit-learn.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from types import ModuleType
from typing import Any, Final

from loopwright.contract.trials import CURVE
from loopwright.kernel.records import Record
from loopwright.runtime.search import Categorical, Parameter, place
from loopwright.tuning.definitions import Definition, config_of
from loopwright.tuning.trials import Outcome, best_of, counters

CURVES_MAX: Final = 100
TRIALS_MIN: Final = 8
"""Importance is not guessed from fewer trials than this."""
STYLE: Final = (
    "body{font:15px system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:left;"
    "border-bottom:1px solid #ddd}"
)


@dataclass(frozen=True)
class Figures:
    """What a report shows: a tuning job, its definitions, and its trials in order of creation."""

    record: Record
    made: Sequence[Definition]
    trials: Sequence[Outcome]


def render(figures: Figures) -> str:
    """The report as one HTML page with Plotly's script inside."""
    graphs = _lazy("plotly.graph_objects")
    pictures: list[tuple[str, Any]] = []
    if any(trial.value is not None for trial in figures.trials):
        pictures.append(("Objective by trial", _history(graphs, figures)))
    for definition in figures.made:
        of = [t for t in figures.trials if t.trial["definition"] == definition.name]
        valued = [t for t in of if t.value is not None]
        title = f" of {definition.name}" if definition.name else ""
        if valued:
            drawn = _coordinates(graphs, definition, valued)
            pictures.append((f"Hyperparameters{title} of every trial", drawn))
        if len(valued) >= TRIALS_MIN:
            drawn = _importance(graphs, definition, valued)
            pictures.append((f"Importance{title}", drawn))
        if any(len(t.job.status.get(CURVE, ())) > 1 for t in of):
            pictures.append((f"Learning curves{title}", _curves(graphs, definition, of)))
    return _page(figures, pictures)


def _lazy(name: str) -> ModuleType:
    """A declared lazy seam: drawing libraries are loaded by the first report, not by `serve`."""
    return importlib.import_module(name)


def _page(figures: Figures, pictures: Sequence[tuple[str, Any]]) -> str:
    script = _lazy("plotly.offline").get_plotlyjs() if pictures else ""
    drawn = [
        f"<h2>{escape(title)}</h2>{picture.to_html(full_html=False, include_plotlyjs=False)}"
        for title, picture in pictures
    ]
    name = escape(figures.record.name)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Tuning job {name}'
        f"</title><style>{STYLE}</style><script>{script}</script></head><body>"
        f"<h1>Tuning job {name}</h1>{_facts(figures)}{''.join(drawn)}</body></html>"
    )


def _facts(figures: Figures) -> str:
    config = config_of(figures.record.spec)
    jobs = counters(figures.trials)["TrainingJobStatusCounters"]
    rows = [
        ("Strategy", config["Strategy"]),
        ("Training jobs", ", ".join(f"{count} {state}" for state, count in jobs.items() if count)),
    ]
    best = best_of(figures.trials)
    if best is not None:
        definition = next(d for d in figures.made if d.name == best.trial["definition"])
        rows += [
            ("Best training job", best.job.name),
            (definition.metric, f"{best.value:g}"),
            *((name, str(value)) for name, value in best.trial["point"].items()),
        ]
    cells = "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows)
    return f"<table>{cells}</table>"


def _history(graphs: ModuleType, figures: Figures) -> Any:
    """Every trial's value, and the best so far, in the order in which the trials ended."""
    ended = sorted(
        (t for t in figures.trials if t.value is not None),
        key=lambda t: t.job.status.get("TrainingEndTime", 0.0),
    )
    best: list[float] = []
    for trial in ended:
        assert trial.value is not None
        better = max if trial.trial["maximize"] else min
        best.append(better(best[-1], trial.value) if best else trial.value)
    order = list(range(1, len(ended) + 1))
    picture = graphs.Figure()
    picture.add_scatter(
        x=order,
        y=[trial.value for trial in ended],
        mode="markers",
        name="trial",
        text=[trial.job.name for trial in ended],
    )
    picture.add_scatter(x=order, y=best, mode="lines", line_shape="hv", name="best so far")
    picture.update_layout(
        xaxis_title="trials ended", yaxis_title=figures.made[0].metric, template="plotly_white"
    )
    return picture


def _coordinates(graphs: ModuleType, definition: Definition, trials: Sequence[Outcome]) -> Any:
    """Parallel coordinates on each parameter's own scale, coloured by the objective."""
    values = [trial.value for trial in trials]
    axes = [_axis(parameter, trials) for parameter in definition.parameters]
    axes.append({"label": definition.metric, "values": values})
    colours = "Viridis" if definition.maximize else "Viridis_r"
    line = {"color": values, "colorscale": colours, "showscale": True}
    picture = graphs.Figure(graphs.Parcoords(line=line, dimensions=axes))
    picture.update_layout(template="plotly_white")
    return picture


def _axis(parameter: Parameter, trials: Sequence[Outcome]) -> dict[str, Any]:
    points = [trial.trial["point"][parameter.name] for trial in trials]
    if isinstance(parameter, Categorical):
        return {
            "label": parameter.name,
            "values": [parameter.values.index(point) for point in points],
            "tickvals": list(range(len(parameter.values))),
            "ticktext": list(parameter.values),
        }
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    return {
        "label": parameter.name,
        "values": [place(parameter, point) for point in points],
        "range": [0, 1],
        "tickvals": ticks,
        "ticktext": [f"{parameter.from_unit(tick):.4g}" for tick in ticks],
    }


def _importance(graphs: ModuleType, definition: Definition, trials: Sequence[Outcome]) -> Any:
    ensemble = _lazy("sklearn.ensemble")
    inspection = _lazy("sklearn.inspection")
    rows = [[place(p, t.trial["point"][p.name]) for p in definition.parameters] for t in trials]
    values = [trial.value for trial in trials]
    forest = ensemble.RandomForestRegressor(100, min_samples_leaf=2, random_state=0, n_jobs=1)
    forest.fit(rows, values)
    found = inspection.permutation_importance(
        forest, rows, values, n_repeats=5, random_state=0, n_jobs=1
    )
    means = [max(0.0, float(mean)) for mean in found.importances_mean]
    whole = sum(means) or 1.0
    ranked = sorted(
        zip((p.name for p in definition.parameters), means, strict=True), key=lambda pair: pair[1]
    )
    picture = graphs.Figure(
        graphs.Bar(
            x=[mean / whole for _, mean in ranked],
            y=[name for name, _ in ranked],
            orientation="h",
        )
    )
    picture.update_layout(
        xaxis_title="share of the permutation importance", template="plotly_white"
    )
    return picture


def _curves(graphs: ModuleType, definition: Definition, trials: Sequence[Outcome]) -> Any:
    """The objective by step, of the best and the latest trials."""
    shown = [trial for trial in trials if len(trial.job.status.get(CURVE, ())) > 1]
    sign = -1.0 if definition.maximize else 1.0
    shown.sort(key=lambda t: sign * t.value if t.value is not None else float("inf"))
    picture = graphs.Figure()
    for trial in shown[:CURVES_MAX]:
        curve = trial.job.status[CURVE]
        picture.add_scatter(
            x=[step for step, _ in curve],
            y=[value for _, value in curve],
            mode="lines",
            name=f"{trial.trial['index'] + 1:03d} {trial.state}",
        )
    picture.update_layout(
        xaxis_title="step", yaxis_title=definition.metric, template="plotly_white"
    )
    return picture
