"""A simulated clock for the tuning benchmark: workers take trials, steps end in order of time."""

import heapq
import itertools
import math
import time
from dataclasses import dataclass, field
from typing import Protocol

from tuning_problems import Problem

from loopwright.runtime.search import Point


@dataclass
class Order:
    """What a worker is to do: run trial `number` (new, or resumed) until step `target`."""

    number: int
    point: Point
    target: int


class Searcher(Protocol):
    """What the benchmark asks of a search."""

    def ask(self) -> Order | None:
        """The next work; None: nothing now."""

    def report(self, number: int, step: int, value: float) -> bool:
        """A value came in; True: stop the trial."""

    def ended(self, number: int, step: int, value: float, why: str) -> None:
        """A trial ended at a step: `completed`, `stopped`, or `paused` at its target."""


@dataclass
class Outcome:
    """Regret after each spent step, and CPU seconds a suggestion."""

    regrets: list[float] = field(default_factory=list)
    suggestions: int = 0
    cpu_s: float = 0.0

    def at(self, share: float) -> float:
        """Regret of the incumbent when a share of the budget was spent."""
        index = max(0, math.ceil(share * len(self.regrets)) - 1)
        return self.regrets[index]


def run(problem: Problem, searcher: Searcher, workers: int, budget: int, seed: int) -> Outcome:
    """Spend `budget` steps with asynchronous workers.

    The incumbent is the trial and step with the lowest value observed so far; its regret is that
    of its noise-free value.
    """
    outcome, heap, counter = Outcome(), [], itertools.count()
    orders: dict[int, Order] = {}
    reached: dict[int, int] = {}
    spent, committed, lowest, regret = 0, 0, math.inf, math.nan
    idle, now = workers, 0.0
    curves: dict[int, tuple] = {}
    while spent < budget:
        while idle and committed < budget:
            start = time.process_time()
            order = searcher.ask()
            outcome.cpu_s += time.process_time() - start
            if order is None:
                break
            outcome.suggestions += 1
            if order.number not in curves:
                curves[order.number] = (
                    problem.observed(order.point, seed),
                    problem.values(order.point),
                    problem.pace(order.point),
                )
            orders[order.number] = order
            idle, committed = idle - 1, committed + 1
            heapq.heappush(heap, (now + curves[order.number][2], next(counter), order.number))
        if not heap:
            break
        now, _, number = heapq.heappop(heap)
        step = reached[number] = reached.get(number, 0) + 1
        observed, truth, pace = curves[number]
        value, spent = float(observed[step - 1]), spent + 1
        if value < lowest:
            lowest, regret = value, problem.regret(float(truth[step - 1]))
        outcome.regrets.append(regret)
        start = time.process_time()
        stop = searcher.report(number, step, value)
        if step >= problem.steps or stop or step >= orders[number].target:
            why = "completed" if step >= problem.steps else "stopped" if stop else "paused"
            searcher.ended(number, step, value, why)
            idle += 1
        elif committed < budget:
            committed += 1
            heapq.heappush(heap, (now + pace, next(counter), number))
        else:
            orders.pop(number)
        outcome.cpu_s += time.process_time() - start
    outcome.regrets += [regret] * (budget - len(outcome.regrets))
    return outcome
