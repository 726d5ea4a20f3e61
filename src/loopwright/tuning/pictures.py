"""The pictures of a tuning job's report: history, parallel coordinates, importance, curves.

Importance is the permutation importance of a random forest over the trials (Breiman 2001), by
scikit-learn.
"""

import importlib
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Final

from loopwright.contract.trials import CURVE
from loopwright.pages import charts, figure
from loopwright.pages.charts import Chart, Mark, Tick
from loopwright.runtime.search import Categorical, Parameter, place
from loopwright.tuning.definitions import Definition
from loopwright.tuning.trials import Outcome, best_of

CURVES_MAX: Final = 100
POINTS_MAX: Final = 60
"""Of one learning curve: a picture is no more than some hundred pixels wide."""
THREADS_MAX: Final = 500
TRIALS_MIN: Final = 8
"""Importance is not guessed from fewer trials than this."""
TEXT_MAX: Final = 18


def history(trials: Sequence[Outcome], metric: str) -> Chart | None:
    """Every trial's value, and the best so far, in the order in which the trials ended."""
    ended = sorted(_valued(trials), key=lambda t: t.job.status.get("TrainingEndTime", 0.0))
    if not ended:
        return None
    values = [_value(trial) for trial in ended]
    better = max if ended[0].trial["maximize"] else min
    best: list[float] = []
    for value in values:
        best.append(better(best[-1], value) if best else value)
    x, y = charts.Scale(0.5, len(ended) + 0.5), charts.scale(values)
    dots = [
        Mark(charts.dot((n, value), x, y), "dot", f"{trial.job.name}: {figure(value)}")
        for n, (trial, value) in enumerate(zip(ended, values, strict=True), 1)
    ]
    line = charts.line(enumerate(best, 1), x, y, steps=True)
    return Chart(
        f"{metric} of {len(ended)} trials in the order in which they ended; the best has "
        f"{figure(best[-1])}",
        "trials ended",
        metric,
        [tick for tick in x.ticks() if "." not in tick.text],
        y.ticks(),
        [Mark(line, "line", "best so far", 1), *dots],
        [("trial", 0), ("best so far", 1)],
    )


def coordinates(definition: Definition, trials: Sequence[Outcome]) -> charts.Parallel | None:
    """Parallel coordinates on each parameter's own scale, coloured by the objective's rank."""
    valued = _valued(trials)
    if not valued or not definition.parameters:
        return None
    last = charts.scale([_value(trial) for trial in valued])
    axes = [charts.Axis(p.name, _ticks(p)) for p in definition.parameters]
    axes.append(charts.Axis(definition.metric, last.ticks()))
    picture = charts.Parallel(
        f"Hyperparameters and {definition.metric} of {len(valued)} trials", axes
    )
    shades = _shades(valued)
    # The best are drawn last, above the others.
    for trial in sorted(valued, key=lambda t: shades[t.job.name])[-THREADS_MAX:]:
        point = trial.trial["point"]
        places = [max(0.0, place(p, point[p.name])) for p in definition.parameters]
        places.append(last.place(_value(trial)) / charts.WHOLE)
        told = ", ".join(f"{name} {_short(value)}" for name, value in point.items())
        title = f"{trial.job.name}: {definition.metric} {figure(trial.value)}; {told}"
        picture.add(str(trial.trial["index"] + 1), title, places, shades[trial.job.name])
    return picture


def _ticks(parameter: Parameter) -> list[Tick]:
    if isinstance(parameter, Categorical):
        return [Tick(100 * place(parameter, v), _cut(v)) for v in parameter.values]
    found: dict[str, Tick] = {}
    for at in (0.0, 0.25, 0.5, 0.75, 1.0):
        value = parameter.from_unit(at)
        found.setdefault(figure(value), Tick(100 * place(parameter, value), figure(value)))
    return list(found.values())


def importance(definition: Definition, trials: Sequence[Outcome]) -> list[tuple[str, float]] | None:
    """Each parameter's share of the permutation importance, the most important first."""
    valued = _valued(trials)
    if len(valued) < TRIALS_MIN or not definition.parameters:
        return None
    ensemble, inspection = _lazy("sklearn.ensemble"), _lazy("sklearn.inspection")
    rows = [[place(p, t.trial["point"][p.name]) for p in definition.parameters] for t in valued]
    values = [_value(trial) for trial in valued]
    forest = ensemble.RandomForestRegressor(100, min_samples_leaf=2, random_state=0, n_jobs=1)
    forest.fit(rows, values)
    found = inspection.permutation_importance(
        forest, rows, values, n_repeats=5, random_state=0, n_jobs=1
    )
    means = [max(0.0, float(mean)) for mean in found.importances_mean]
    whole = sum(means) or 1.0
    named = zip((p.name for p in definition.parameters), means, strict=True)
    return sorted(((name, mean / whole) for name, mean in named), key=lambda pair: -pair[1])


def _lazy(name: str) -> ModuleType:
    """A declared lazy seam: scikit-learn is loaded by the first report, not by `serve`."""
    return importlib.import_module(name)


def curves(definition: Definition, trials: Sequence[Outcome]) -> Chart | None:
    """The objective by step of the best trials, the best one above all others."""
    drawn = {trial.job.name: _curve(trial) for trial in trials}
    shown = [trial for trial in trials if len(drawn[trial.job.name]) > 1]
    if not shown:
        return None
    sign = -1.0 if definition.maximize else 1.0
    # The best first: what has no value comes last, and goes first when there are too many.
    shown.sort(key=lambda t: sign * _value(t) if _has(t) else math.inf)
    shown = shown[:CURVES_MAX]
    points = {t.job.name: drawn[t.job.name] for t in shown}
    x = charts.scale([at for curve in points.values() for at, _ in curve], 0.0)
    y = charts.scale([value for curve in points.values() for _, value in curve])
    best, shades = best_of(shown), _shades([t for t in shown if _has(t)])
    marks = []
    for trial in reversed(shown):
        path = charts.line(charts.thinned(points[trial.job.name], POINTS_MAX), x, y)
        value = f", {figure(trial.value)}" if _has(trial) else ""
        title = f"{trial.trial['index'] + 1:03d} {trial.state}{value}"
        if best is not None and trial.job.name == best.job.name:
            marks.append(Mark(path, "line", f"{title}, the best", 2))
        else:
            marks.append(Mark(path, "thin", title, shade=shades.get(trial.job.name, 0.0)))
    return Chart(
        f"{definition.metric} by step of {len(shown)} trials",
        "step",
        definition.metric,
        x.ticks(),
        y.ticks(),
        marks,
        [("the best", 2), ("better", 0), ("worse", 1)],
    )


def _curve(trial: Outcome) -> list[tuple[float, float]]:
    found = ((float(at), value) for at, value in trial.job.status.get(CURVE, ()))
    return [(at, float(value)) for at, value in found if value is not None and math.isfinite(value)]


def _has(trial: Outcome) -> bool:
    return trial.value is not None and math.isfinite(trial.value)


def _valued(trials: Sequence[Outcome]) -> list[Outcome]:
    return [trial for trial in trials if _has(trial)]


def _value(trial: Outcome) -> float:
    assert trial.value is not None
    return trial.value


def _shades(valued: Sequence[Outcome]) -> dict[str, float]:
    """By name: 0 for the worst trial, 100 for the best one, by rank, so that none hides others."""
    if not valued:
        return {}
    sign = 1.0 if valued[0].trial["maximize"] else -1.0
    ranked = sorted({sign * _value(trial) for trial in valued})
    rank = {value: 100.0 * n / max(1, len(ranked) - 1) for n, value in enumerate(ranked)}
    return {trial.job.name: rank[sign * _value(trial)] for trial in valued}


def _short(value: object) -> str:
    return figure(value) if isinstance(value, float) else _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 1]}…"
