"""Log lines in the form that the built-in algorithms' metric definitions look for.

The forms are those of the expressions that DescribeTrainingJob shows for these algorithms, such as
`#quality_metric: host=\\S+, validation mse <loss>=(\\S+)`.
"""

import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """Writes for one host.

    Attributes:
        host: Such as `algo-1`.
    """

    host: str

    def say(self, text: str) -> None:
        """One line, with time and level."""
        now = time.strftime("%m/%d/%Y %H:%M:%S")
        sys.stdout.write(f"[{now} INFO] {text}\n")

    def loss(self, channel: str, name: str, value: float, epoch: int | None = None) -> None:
        """A figure that is better the lower it is; of one epoch, or of the final model."""
        self._quality(channel, name, "loss", value, epoch)

    def score(self, channel: str, name: str, value: float, epoch: int | None = None) -> None:
        """A figure that is better the higher it is."""
        self._quality(channel, name, "score", value, epoch)

    def progress(self, done: int, whole: int) -> None:
        """How far the epochs are."""
        share = 100 * done // whole
        self.say(f"#progress_metric: host={self.host}, completed {share} % of epochs")

    def throughput(self, records: int, seconds: float) -> None:
        """How fast records were learnt from."""
        speed = records / max(seconds, 1e-9)
        self.say(
            f"#throughput_metric: host={self.host}, train throughput={speed:.6g} records/second"
        )

    def _quality(self, channel: str, name: str, kind: str, value: float, epoch: int | None) -> None:
        when = "" if epoch is None else f"epoch={epoch}, "
        self.say(
            f"#quality_metric: host={self.host}, {when}{channel} {name} <{kind}>={float(value)!r}"
        )
