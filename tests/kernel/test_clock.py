"""The platform's clock over restarts."""

import json
import time
from pathlib import Path

from loopwright.kernel.clock import ScaledClock, clock_file, clock_of


def test_a_fast_clock_goes_on_after_a_restart() -> None:
    now = time.time()
    turns = [(now - 100, now - 100, 60.0)]
    again = ScaledClock(60.0, turns)
    assert again.turns == turns
    assert again.now() >= now + 59 * 100 - 1
    # What happened before the clock ran fast keeps its time.
    assert again.platform(now - 200) == now - 200
    slower = ScaledClock(1.0, again.turns)
    turned = slower.turns[-1][0]
    assert slower.platform(turned) == again.platform(turned)
    assert slower.platform(turned + 5) == again.platform(turned) + 5
    assert slower.platform(now - 50) == again.platform(now - 50)


def test_a_real_clock_keeps_nothing() -> None:
    clock = ScaledClock()
    assert clock.turns == []
    assert clock.platform(5.0) == 5.0


def test_others_see_the_clock_of_a_home(tmp_path: Path) -> None:
    assert clock_of(tmp_path).turns == []
    now = time.time()
    clock_file(tmp_path).write_text(json.dumps([(now - 100, now - 100, 20.0)]))
    assert clock_of(tmp_path).platform(now) == now - 100 + 2000
