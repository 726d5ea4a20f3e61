"""Searches of other libraries behind the benchmark's `Searcher`, and our own strategies.

Libraries come from a virtual environment outside the repository. Each is imported by the function
that makes its searcher, because any of them may be missing; the benchmark then says so.
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from tuning_clock import Order, Searcher
from tuning_problems import Problem

from loopwright.runtime.search import (
    Categorical,
    Continuous,
    Integer,
    Parameter,
    Point,
    Resources,
    Space,
    Trial,
)
from loopwright.tuning.strategies import bayesian, hyperband, random

Maker = Callable[[Problem, int, int, int], Searcher]


class Ours:
    """A strategy of Loopwright, rebuilt from the trials for every suggestion."""

    def __init__(self, module: Any, problem: Problem, seed: int, space: Space) -> None:
        self.module, self.seed, self.space = module, seed, space
        self.steps = problem.steps
        self.trials: list[Trial] = []
        self.asked = 0

    def ask(self) -> Order | None:
        rng = np.random.default_rng([self.seed, self.asked])
        proposal = self.module.suggest(self.space, self.trials, rng)
        if proposal is None:
            return None
        self.asked += 1
        number, curve = len(self.trials), ()
        if proposal.resumes is not None:
            number, curve = proposal.resumes, self.trials[proposal.resumes].curve
        trial = Trial(number, proposal.point, "running", curve, None, proposal.target)
        self.trials[number : number + 1] = [trial]
        return Order(number, dict(proposal.point), proposal.target or self.steps)

    def report(self, number: int, step: int, value: float) -> bool:
        old = self.trials[number]
        curve = (*old.curve, (step, value))
        trial = self.trials[number] = Trial(number, old.point, "running", curve, None, old.target)
        resources = self.space.resources
        if resources is None or resources.resumable:
            return False
        return self.module.stop(trial, self.trials, self.space) is not None

    def ended(self, number: int, step: int, value: float, why: str) -> None:
        old = self.trials[number]
        final = None if why == "paused" else value
        self.trials[number] = Trial(number, old.point, why, old.curve, final, old.target)


def ours(module: Any, budget_trials: int | None = None, resumable: bool | None = None) -> Maker:
    """A maker for one of our strategies; `resumable` None: without fidelities."""

    def make(problem: Problem, seed: int, workers: int, budget: int) -> Searcher:
        resources = None
        if resumable is not None:
            resources = Resources(1, problem.steps, resumable)
        trials = budget_trials or max(1, budget // problem.steps)
        space = Space(problem.parameters, trials, workers, resources)
        return Ours(module, problem, seed, space)

    return make


class Optuna:
    """Optuna's samplers and pruners."""

    def __init__(self, problem: Problem, sampler: Any, pruner: Any) -> None:
        optuna = import_module("optuna")

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna, self.problem = optuna, problem
        self.study = optuna.create_study(sampler=sampler, pruner=pruner)
        self.trials: list[Any] = []
        self.prunes = not isinstance(pruner, optuna.pruners.NopPruner)
        self.distributions = {p.name: self._distribution(p) for p in problem.parameters}

    def _distribution(self, parameter: Parameter) -> Any:
        kinds = self.optuna.distributions
        if isinstance(parameter, Categorical):
            return kinds.CategoricalDistribution(parameter.values)
        kind = kinds.IntDistribution if isinstance(parameter, Integer) else kinds.FloatDistribution
        if parameter.scaling == "ReverseLogarithmic":
            return kind(1.0 - parameter.high, 1.0 - parameter.low, log=True)
        return kind(parameter.low, parameter.high, log=parameter.scaling == "Logarithmic")

    def ask(self) -> Order:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self.study.ask(self.distributions)
        self.trials.append(trial)
        return Order(trial.number, unreversed(self.problem, trial.params), self.problem.steps)

    def report(self, number: int, step: int, value: float) -> bool:
        if not self.prunes:
            return False
        self.trials[number].report(value, step)
        return step < self.problem.steps and self.trials[number].should_prune()

    def ended(self, number: int, step: int, value: float, why: str) -> None:
        states = self.optuna.trial.TrialState
        if why == "completed":
            self.study.tell(self.trials[number], value)
        else:
            self.study.tell(self.trials[number], state=states.PRUNED)


def unreversed(problem: Problem, point: Point) -> Point:
    """1 - x for the parameters on a reversed logarithmic scale, which peers search as 1 - x."""
    reversed_names = {
        p.name
        for p in problem.parameters
        if isinstance(p, Continuous) and p.scaling == "ReverseLogarithmic"
    }
    return {n: 1.0 - v if n in reversed_names else v for n, v in point.items()}


def optuna_gp(problem: Problem, seed: int, workers: int, budget: int) -> Searcher:
    """Optuna's Gaussian process sampler (qLogEI with running trials)."""
    optuna = import_module("optuna")

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    return Optuna(problem, optuna.samplers.GPSampler(seed=seed), optuna.pruners.NopPruner())


def optuna_tpe(problem: Problem, seed: int, workers: int, budget: int) -> Searcher:
    """Optuna's TPE with its defaults: in version 5 multivariate with constant liar."""
    optuna = import_module("optuna")

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    sampler = optuna.samplers.TPESampler(seed=seed)
    return Optuna(problem, sampler, optuna.pruners.NopPruner())


def optuna_hyperband(problem: Problem, seed: int, workers: int, budget: int) -> Searcher:
    """Optuna's TPE behind its Hyperband pruner."""
    optuna = import_module("optuna")

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    pruner = optuna.pruners.HyperbandPruner(1, problem.steps, 3)
    return Optuna(problem, optuna.samplers.TPESampler(seed=seed), pruner)


class Hyperopt:
    """hyperopt's TPE by its trials object."""

    def __init__(self, problem: Problem, seed: int) -> None:
        hyperopt = import_module("hyperopt")

        self.hyperopt, self.problem = hyperopt, problem
        self.domain = hyperopt.Domain(
            lambda point: 0.0, {p.name: self._range(p) for p in problem.parameters}
        )
        self.trials = hyperopt.Trials()
        self.rng = np.random.default_rng(seed)
        self.asked = 0

    def _range(self, p: Parameter) -> Any:
        hp = self.hyperopt.hp
        if isinstance(p, Categorical):
            return hp.choice(p.name, list(p.values))
        low, high = p.low, p.high
        if p.scaling == "ReverseLogarithmic":
            low, high = 1.0 - high, 1.0 - low
        if isinstance(p, Integer):
            if p.scaling == "Linear":
                return hp.uniformint(p.name, low, high)
            return hp.qloguniform(p.name, np.log(low), np.log(high), 1)
        if p.scaling == "Linear":
            return hp.uniform(p.name, low, high)
        return hp.loguniform(p.name, np.log(low), np.log(high))

    def ask(self) -> Order:
        ids = self.trials.new_trial_ids(1)
        self.trials.refresh()
        seed = int(self.rng.integers(2**31 - 1))
        made = self.hyperopt.tpe.suggest(ids, self.domain, self.trials, seed)
        self.trials.insert_trial_docs(made)
        self.trials.refresh()
        document = self.trials._dynamic_trials[-1]
        document["state"] = self.hyperopt.JOB_STATE_RUNNING
        point: dict[str, Any] = {}
        for p in self.problem.parameters:
            raw = document["misc"]["vals"][p.name][0]
            if isinstance(p, Categorical):
                point[p.name] = p.values[int(raw)]
            elif isinstance(p, Integer):
                point[p.name] = min(max(round(raw), p.low), p.high)
            else:
                point[p.name] = float(raw)
        self.asked += 1
        point = unreversed(self.problem, point)
        return Order(self.asked - 1, point, self.problem.steps)

    def report(self, number: int, step: int, value: float) -> bool:
        return False

    def ended(self, number: int, step: int, value: float, why: str) -> None:
        document = self.trials._dynamic_trials[number]
        document["state"] = self.hyperopt.JOB_STATE_DONE
        document["result"] = {"loss": value, "status": self.hyperopt.STATUS_OK}
        self.trials.refresh()


def hyperopt_tpe(problem: Problem, seed: int, workers: int, budget: int) -> Searcher:
    """hyperopt's TPE with its defaults."""
    return Hyperopt(problem, seed)


class Smac:
    """SMAC3's random-forest facade by ask and tell."""

    def __init__(self, problem: Problem, seed: int, trials: int) -> None:
        ConfigSpace = import_module("ConfigSpace")
        smac = import_module("smac")
        TrialValue = import_module("smac.runhistory.dataclasses").TrialValue

        self.value, self.problem = TrialValue, problem
        space = ConfigSpace.ConfigurationSpace(seed=seed)
        for p in problem.parameters:
            if isinstance(p, Categorical):
                space.add(ConfigSpace.CategoricalHyperparameter(p.name, list(p.values)))
                continue
            low, high, log = p.low, p.high, p.scaling != "Linear"
            if p.scaling == "ReverseLogarithmic":
                low, high = 1.0 - high, 1.0 - low
            kind = (
                ConfigSpace.UniformIntegerHyperparameter
                if isinstance(p, Integer)
                else ConfigSpace.UniformFloatHyperparameter
            )
            space.add(kind(p.name, low, high, log=log))
        scenario = smac.Scenario(
            space,
            deterministic=True,
            n_trials=10 * trials,
            seed=seed,
            output_directory="/tmp/smac-benchmark",
        )
        self.facade = smac.HyperparameterOptimizationFacade(
            scenario,
            lambda config, seed=0: 0.0,
            overwrite=True,
            logging_level=False,
            initial_design=smac.HyperparameterOptimizationFacade.get_initial_design(
                scenario, n_configs=max(4, min(trials // 4, 2 * len(problem.parameters)))
            ),
        )
        self.asked: list[Any] = []

    def ask(self) -> Order:
        info = self.facade.ask()
        self.asked.append(info)
        point = {
            p.name: (
                str if isinstance(p, Categorical) else int if isinstance(p, Integer) else float
            )(info.config[p.name])
            for p in self.problem.parameters
        }
        return Order(len(self.asked) - 1, unreversed(self.problem, point), self.problem.steps)

    def report(self, number: int, step: int, value: float) -> bool:
        return False

    def ended(self, number: int, step: int, value: float, why: str) -> None:
        self.facade.tell(self.asked[number], self.value(cost=value))


def smac_forest(problem: Problem, seed: int, workers: int, budget: int) -> Searcher:
    """SMAC3's hyperparameter optimisation facade."""
    return Smac(problem, seed, max(4, budget // problem.steps))


class SyneTune:
    """Syne Tune's ASHA scheduler (stopping type) by its own scheduler calls."""

    def __init__(self, problem: Problem, seed: int) -> None:
        kinds = import_module("syne_tune.config_space")
        baselines = import_module("syne_tune.optimizer.baselines")
        self.trial_type = import_module("syne_tune.backend.trial_status").Trial
        self.problem = problem
        space: dict[str, Any] = {}
        for p in problem.parameters:
            if isinstance(p, Categorical):
                space[p.name] = kinds.choice(list(p.values))
            elif isinstance(p, Integer):
                kind = kinds.lograndint if p.scaling == "Logarithmic" else kinds.randint
                space[p.name] = kind(p.low, p.high)
            elif p.scaling == "ReverseLogarithmic":
                space[p.name] = kinds.loguniform(1.0 - p.high, 1.0 - p.low)
            else:
                kind = kinds.loguniform if p.scaling == "Logarithmic" else kinds.uniform
                space[p.name] = kind(p.low, p.high)
        self.scheduler = baselines.ASHA(
            space,
            metric="loss",
            time_attr="step",
            max_t=problem.steps,
            grace_period=1,
            reduction_factor=3,
            random_seed=seed,
            do_minimize=True,
        )
        self.trials: list[Any] = []

    def ask(self) -> Order:
        suggestion = self.scheduler.suggest()
        number = len(self.trials)
        trial = self.trial_type(number, suggestion.config, None)
        self.trials.append(trial)
        self.scheduler.on_trial_add(trial)
        point = {p.name: suggestion.config[p.name] for p in self.problem.parameters}
        return Order(number, unreversed(self.problem, point), self.problem.steps)

    def report(self, number: int, step: int, value: float) -> bool:
        decision = self.scheduler.on_trial_result(
            self.trials[number], {"loss": value, "step": step}
        )
        return bool(decision != "CONTINUE")

    def ended(self, number: int, step: int, value: float, why: str) -> None:
        if why == "completed":
            self.scheduler.on_trial_complete(self.trials[number], {"loss": value, "step": step})


def syne_asha(problem: Problem, seed: int, workers: int, budget: int) -> Searcher:
    """Syne Tune's ASHA with random search."""
    return SyneTune(problem, seed)


FULL: dict[str, Maker] = {
    "loopwright bayesian": ours(bayesian),
    "random": ours(random),
    "optuna gp": optuna_gp,
    "optuna tpe": optuna_tpe,
    "hyperopt tpe": hyperopt_tpe,
    "smac forest": smac_forest,
}
"""Searches compared at equal numbers of full trials."""

STEPWISE: dict[str, Maker] = {
    "loopwright hyperband": ours(hyperband, 750, True),
    "loopwright hyperband, stops only": ours(hyperband, 750, False),
    "loopwright bayesian": ours(bayesian),
    "random": ours(random),
    "optuna tpe hyperband": optuna_hyperband,
    "syne tune asha": syne_asha,
    "optuna tpe": optuna_tpe,
    "optuna gp": optuna_gp,
}
"""Searches compared at equal numbers of steps."""
