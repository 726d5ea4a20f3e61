"""Of several units that failed, the one that failed first is named: the others only noticed."""

from loopwright.contract.gang import Gang
from loopwright.kernel.records import Observation


def _failure(*units: Observation) -> Observation | None:
    return Gang(tuple(f"u{number}" for number in range(len(units))), units).failure


def test_the_first_that_failed_by_itself_is_the_cause() -> None:
    late = Observation("exited", 1, "late", ended=2.0)
    first = Observation("exited", 1, "first", ended=1.0)
    stopped = Observation("exited", 1, "stopped", ended=0.5, signalled=True)
    assert _failure(late, first, stopped, Observation("exited", 0)) is first


def test_a_killed_one_is_the_cause_though_its_host_was_stopped_for_the_others() -> None:
    noticed = Observation("exited", 1, "peer closed", ended=1.0)
    killed = Observation("exited", 137, "rank 1 was killed", ended=2.0, signalled=True)
    assert _failure(noticed, killed) is killed
    assert _failure(noticed, Observation("lost", ended=2.0, signalled=True)).state == "lost"  # type: ignore[union-attr]


def test_one_that_used_up_its_grace_is_not_the_cause() -> None:
    noticed = Observation("exited", 1, "peer closed", ended=1.0)
    cut = Observation("exited", 137, "", ended=31.0, signalled=True, cut=True)
    assert _failure(noticed, cut) is noticed


def test_one_that_only_lost_its_peer_is_not_the_cause_however_early_it_ended() -> None:
    lost = Observation("exited", 1, "RuntimeError: Connection closed by peer [::1]:1", ended=1.0)
    said = Observation("exited", 3, 'ErrorMessage "rank one says no"', ended=1.1)
    assert _failure(lost, said) is said
    assert _failure(lost, Observation("exited", 0, ended=2.0)) is lost
