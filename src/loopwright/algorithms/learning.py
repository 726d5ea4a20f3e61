"""What the built-in algorithms that learn from rows have in common, from channels to a model."""

from collections.abc import Callable
from dataclasses import dataclass

import threadpoolctl  # type: ignore[import-untyped]

from loopwright.algorithms import channels, hosts
from loopwright.algorithms.channels import Table
from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.report import Report
from loopwright.runtime.environment import Environment, cpu_count

ROW_CHANNELS = ("train", "validation", "test")


@dataclass(frozen=True)
class Lesson:
    """What an algorithm gets to learn from.

    Attributes:
        environment: The job's.
        tables: By channel; `train` is there.
        report: The log.
    """

    environment: Environment
    tables: dict[str, Table]
    report: Report

    @property
    def train(self) -> Table:
        return self.tables["train"]

    def labelled(self, *names: str) -> None:
        """Refuse channels without labels.

        Raises:
            CustomerError: naming the channel.
        """
        for name in names:
            if name in self.tables and self.tables[name].labels is None:
                raise CustomerError(
                    f"The channel {name} has no labels; in CSV they are the first column, in "
                    "RecordIO-protobuf the label named values."
                )


def learn(
    environment: Environment,
    names: tuple[str, ...],
    columns: int | None,
    fit: Callable[[Lesson], None],
    *,
    supervised: bool = False,
) -> None:
    """Read the channels, bring the hosts' shards together, and learn on the first host.

    Args:
        environment: The job's.
        names: Channels that the algorithm takes, `model` among them where it goes on from one.
        columns: The hyperparameter feature_dim, or None.
        fit: Writes the model; runs on the first host only.
        supervised: Whether the rows of every channel have labels.
    Raises:
        CustomerError: a channel is missing, unknown or not what it should be.
        AlgorithmError: the hosts lost each other.
    """
    channels.check_names(environment, (*names, "code"))
    tables = {
        name: channels.read(environment, name, columns, supervised=supervised)
        for name in ROW_CHANNELS
        if name in names and name in environment.channels
    }
    widths = {name: table.columns for name, table in tables.items()}
    for name, width in widths.items():
        if width != widths["train"]:
            raise CustomerError(
                f"The channel train has {widths['train']} features, {name} {width}."
            )
    with hosts.team(environment) as team, threadpoolctl.threadpool_limits(cpu_count()):
        gathered = team.gather(tables)
        if not team.leads:
            team.await_leader()
            return
        fit(Lesson(environment, gathered, Report(environment.host)))
        team.release()
