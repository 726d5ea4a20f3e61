"""torchrun, ending with the code of the rank that failed: `python -m loopwright.runtime.torchrun`.

torchrun itself ends with 1 whatever happened, so that a rank that was killed could not be told from
one whose script raised.
"""

import sys
from typing import Any

from torch.distributed import run as _run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

# Its functions have no types, and torch may not be installed where types are checked.
TORCHRUN: Any = _run


def main(argv: list[str]) -> int:
    """Run the ranks of this host to their end.

    Args:
        argv: As torchrun's.
    Returns:
        0, or the exit code of the first rank that failed; 128 + n when signal n killed it.
    """
    try:
        TORCHRUN.run(TORCHRUN.parse_args(argv))
    except ChildFailedError as error:
        first = min(error.failures.values(), key=lambda failure: failure.timestamp)
        code = first.exitcode
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        sys.stderr.write(f"rank {first.local_rank} of this host {how}\n")
        return 128 - code if code < 0 else code or 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
