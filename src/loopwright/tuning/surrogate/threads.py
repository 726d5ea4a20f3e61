"""One thread for linear algebra: on matrices of a few hundred rows a pool of them costs more
than it gives, several times more where other processes want the processors too.
"""

import functools
from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]


def one_thread() -> AbstractContextManager[Any]:
    """A block in which BLAS computes in the calling thread."""
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited


@functools.cache
def _controller() -> Any:
    """Finds the process's BLAS libraries once; NumPy's and SciPy's are loaded by then."""
    return ThreadpoolController()
