"""What each command does. One function a command: it takes the arguments, returns the exit code."""

from loopwright.commands.demo import demo
from loopwright.commands.distribution import advise_distribution
from loopwright.commands.endpoints import show_bandit, show_endpoint, show_experiment
from loopwright.commands.jobs import describe, interrupt, invoke, logs, ps, stop
from loopwright.commands.machine import doctor, images
from loopwright.commands.output import CommandError
from loopwright.commands.serving import env, keys, serve
from loopwright.commands.tuning import advise_tuning, show_tuning
from loopwright.commands.workers import workers

__all__ = [
    "CommandError",
    "advise_distribution",
    "advise_tuning",
    "demo",
    "describe",
    "doctor",
    "env",
    "images",
    "interrupt",
    "invoke",
    "keys",
    "logs",
    "ps",
    "serve",
    "show_bandit",
    "show_endpoint",
    "show_experiment",
    "show_tuning",
    "stop",
    "workers",
]
