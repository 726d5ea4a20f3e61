"""What a command is given, and how it refuses; imports nothing of ours, so `--help` is quick."""

from types import SimpleNamespace


class CommandError(Exception):
    """A command cannot do what it was asked; the text says why and what to do."""


class Arguments(SimpleNamespace):
    """The values of a command by name, as `loopwright.cli` declares them; `home` is a path."""
