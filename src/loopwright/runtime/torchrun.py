"""torchrun, ending as the rank did that failed: `python -m loopwright.runtime.torchrun`.

torchrun itself ends with 1 whatever happened, so that a killed rank could not be told from one
whose script raised; and a host whose ranks have ended waits for the others, deaf to SIGTERM.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from torch.distributed import DistError
from torch.distributed import run as _run
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent as _Agent
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from loopwright.runtime.failure import command_failure
from loopwright.runtime.rank import HOST_FILE, JOIN, JOIN_S

# Its functions have no types, and torch may not be installed where types are checked.
TORCHRUN: Any = _run
AGENT: Any = _Agent
ENDED: Final = "loopwright/ended/"
"""Below it in the job's store: the hosts all of whose ranks have ended without an error."""
OTHERS_S: Final = 30 * 86_400
"""How long a host whose ranks have ended waits for the others: the job's own limit comes first."""
NOTICED_S: Final = 1.0
"""How long until the agent of another host has noticed the end of its ranks."""
_agents: Final[list[Any]] = []
_noted: Final = threading.Event()
_killed: Final[list[int]] = []
"""The ranks of this host that were killed, as of when its agent began to end the others."""


def main(argv: list[str]) -> int:
    """Run the ranks of this host to their end.

    Args:
        argv: As torchrun's.
    Returns:
        0, or the exit code of the first rank that failed; 128 + n when signal n killed it.
    """
    _answer_signals()
    arguments = TORCHRUN.parse_args(argv)
    try:
        TORCHRUN.run(arguments)
    except ChildFailedError as error:
        # It ends in a moment, and has yet to tell why.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        rank, first = min(error.failures.items(), key=_cause)
        return _told(rank, first.exitcode, first.error_file_data, int(arguments.nnodes))
    except DistError as error:
        told = f"the hosts of the job did not come together within {_join_s()} s: {error}"
        sys.stderr.write(f"{told}\n")
        _tell(command_failure("ExecuteUserScriptError", 1, told, argv[-1:]).reason)
        return 1
    except SignalException as signalled:
        # Another host saw that a rank of this one was gone, and ended first.
        if _killed:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            return _told(_killed[0], -signal.SIGKILL, {}, 1)
        return 128 + int(signalled.sigval)
    return 0


def _cause(failed: tuple[int, Any]) -> tuple[bool, int]:
    """By what the rank that failed first is found: one that was killed is why the others failed."""
    return failed[1].exitcode != -signal.SIGKILL, failed[1].timestamp


def _told(rank: int, exitcode: int, data: dict[str, Any], hosts: int) -> int:
    """Tell why a rank failed; the exit code of its host."""
    _tell(_reason(rank, exitcode, data, hosts))
    return _code(exitcode)


def _code(exitcode: int) -> int:
    """What a shell would say of subprocess's exit code; a rank that failed never ended with 0."""
    return 128 - exitcode if exitcode < 0 else exitcode or 1


def _join_s() -> str:
    return os.environ.get(JOIN, JOIN_S)


def _answer_signals() -> None:
    """Let a host whose ranks have ended wait in a thread: signals are answered in the main one."""
    barrier = AGENT._exit_barrier

    def wait_for_others(agent: Any) -> None:
        agent._store.set(f"{ENDED}{agent.get_worker_group().group_rank}", "")
        agent._exit_barrier_timeout = OTHERS_S
        thread = threading.Thread(target=barrier, args=(agent,), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.1)

    rendezvous = AGENT._rendezvous

    def meet(agent: Any, group: Any) -> None:
        _agents[:] = [agent]
        rendezvous(agent, group)

    shutdown = AGENT._shutdown

    def note_and_shut_down(agent: Any, *arguments: Any, **named: Any) -> None:
        if not _noted.is_set():
            _noted.set()
            _killed.extend(_killed_ranks(agent))
        shutdown(agent, *arguments, **named)

    AGENT._exit_barrier = wait_for_others
    AGENT._rendezvous = meet
    AGENT._shutdown = note_and_shut_down


def _killed_ranks(agent: Any) -> list[int]:
    """The ranks of this host that signal 9 ended."""
    handlers = getattr(agent._pcontext, "subprocess_handlers", {})
    workers = agent.get_worker_group().workers
    return [
        workers[local].global_rank
        for local, handler in sorted(handlers.items())
        if handler.proc.poll() == -signal.SIGKILL
    ]


def _reason(rank: int, exitcode: int, data: dict[str, Any], hosts: int) -> str:
    """Why a rank failed, in its own words where it had some."""
    code = _code(exitcode)
    where = f"rank {rank} on {os.environ.get('SM_CURRENT_HOST', 'this host')}"
    how = f"was killed by signal {-exitcode}" if exitcode < 0 else f"ended with exit code {code}"
    own = data.get("message")
    sys.stderr.write(f"{where} {how}\n")
    if not isinstance(own, str) or "\n" not in own:
        own = command_failure(
            "ExecuteUserScriptError", code, f"{where} {how}", sys.argv[-1:]
        ).reason
    kind, _, rest = own.partition("\n")
    gone = _ended(hosts)
    if not gone:
        return f"{kind}\nRank {rank}\n{rest}"
    names = ", ".join(f"algo-{number + 1}" for number in gone)
    return f"{kind}\nRank {rank}; the ranks of {names} had already ended, without an error\n{rest}"


def _ended(hosts: int) -> list[int]:
    """The hosts whose ranks have ended without an error, by number; one may just be about to."""
    found: list[int] = []
    deadline = time.monotonic() + NOTICED_S
    # The store is gone with the first host.
    with contextlib.suppress(RuntimeError, IndexError, AttributeError):
        while hosts > 1 and not found and time.monotonic() < deadline:
            time.sleep(0.1)
            store = _agents[0]._store
            found = [number for number in range(hosts) if store.check([f"{ENDED}{number}"])]
    return found


def _tell(reason: str) -> None:
    with contextlib.suppress(OSError, KeyError):
        Path(os.environ[HOST_FILE]).write_text(reason, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
