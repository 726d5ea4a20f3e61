"""What the report of a tuning job says, and what it weighs."""

from html.parser import HTMLParser

import pytest

from loopwright.pages import duration, figure, moment
from loopwright.pages.charts import Scale, scale, thinned
from loopwright.tuning.report import render_report
from tests import reports


class Read(HTMLParser):
    """The text of a page, and the rows of its first table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)
        self.text = " ".join(self.words)

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def test_a_report_of_a_hundred_trials_is_below_half_a_megabyte() -> None:
    page = render_report(reports.tuning(100))
    assert len(page.encode()) < 500_000
    assert page.count("<tr data-t=") == 100
    assert Read(page).addresses == []


def test_it_is_the_same_for_the_same_trials() -> None:
    assert render_report(reports.tuning(12)) == render_report(reports.tuning(12))


def test_it_tells_trials_settings_dates_and_failures() -> None:
    figures = reports.tuning(
        20,
        StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 27}},
        TuningJobCompletionCriteria={
            "TargetObjectiveMetricValue": 0.99,
            "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 9},
            "ConvergenceDetected": {"CompleteOnConvergence": "Enabled"},
        },
    )
    page = render_report(figures)
    text = Read(page).text
    for said in (
        "Tuning job churn",
        "20 trials: 16 completed, 2 failed, 2 stopped.",
        "Created 2025-11-30 10:53:20 UTC",
        "ErrorMessage: out of memory",
        "No better than the median of the completed trials at step 40",
        "Strategy Bayesian",
        "Objective maximize validation:auc",
        "Trials at most 20, 4 at a time",
        "Hyperband MaxResource 27, MinResource 1",
        "Early stopping the median rule (Auto)",
        "once the objective reaches 0.99; when 9 trials in a row are no better; once no better",
        "Random seed 7",
        "Warm start TransferLearning, from earlier",
        "learning_rate real number 0.0001 to 0.1 logarithmic",
        "layers whole number 1 to 8 linear",
        "optimizer one of adam, sgd, <b>lion",
        "epochs 40 sagemaker_program train.py",
        "best so far",
        "Importance",
    ):
        assert said in text, said
    assert "<b>lion" not in page, "what users name is text"
    best = max((t for t in figures.trials if t.value is not None), key=lambda t: t.value or 0.0)
    assert f"Best: validation:auc {figure(best.value)}, {best.job.name}" in text
    seconds = best.job.status["TrainingTimeInSeconds"]
    assert duration(seconds) in text


def test_objectives_that_are_no_numbers_spoil_no_picture() -> None:
    figures = reports.tuning(9)
    for trial in figures.trials[:3]:
        trial.job.status["ObjectiveCurve"][3][1] = float("nan")  # type: ignore[index]
        trial.job.status["ObjectiveCurve"][5][1] = None  # type: ignore[index]
    shown = render_report(figures).partition("<main>")[2].partition("</main>")[0]
    assert "nan" not in shown.lower() and "None" not in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.2, "0.2 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"),
     (3600, "1 h 00 min"), (100_000, "27 h 46 min")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.71, 0.89, ["0.75", "0.80", "0.85"]),
        (-20.0, 40.0, ["−20", "0", "20", "40"]),
        (0.0, 100.0, ["0", "20", "40", "60", "80", "100"]),
        (0.0, 3e7, ["0", "1e+07", "2e+07", "3e+07"]),
        (1e-9, 4e-9, ["1e-09", "2e-09", "3e-09", "4e-09"]),
    ],
)
def test_ticks_are_round_numbers_within(low: float, high: float, texts: list[str]) -> None:
    ticks = Scale(low, high).ticks()
    assert [tick.text.replace("−", "-") for tick in ticks] == [t.replace("−", "-") for t in texts]
    assert all(0 <= tick.at <= 100 for tick in ticks)


def test_scales_of_odd_values() -> None:
    assert scale([]).low < scale([]).high
    assert scale([5.0, 5.0]).low < 5.0 < scale([5.0]).high
    assert scale([1.0, float("inf"), 2.0]).high < 3.0
    assert [tick.text for tick in Scale(0.0, 7200.0).times()] == [
        "0 s",
        "30 min",
        "1 h",
        "90 min",
        "2 h",
    ]
    curve = [(float(n), float(n == 777)) for n in range(1000)]
    assert (777.0, 1.0) in thinned(curve, 60) and len(thinned(curve, 60)) <= 60
    assert moment(None) == "–" and figure(-0.00123456) == "−0.001235"
