"""Makes an interpreter of the runtime's that a unit's program started one of its environment.

Python imports this by itself, from PYTHONPATH (`site` of its library). Console scripts of the
runtime (torchrun …) name the runtime's interpreter; what the unit installed is theirs as well.
"""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

if sys.prefix == os.environ.get("LOOPWRIGHT_RUNTIME_PREFIX") and os.environ.get(
    "LOOPWRIGHT_ENVIRONMENT"
):
    from loopwright.runtime import packages

    packages.adopt(Path(os.environ["LOOPWRIGHT_ENVIRONMENT"]))

# The interpreter looks for one sitecustomize only: run the next one, which this file stands before.
# Not one that stands before this file: it may have run this one, as others of Loopwright's do.
_here = os.path.dirname(os.path.abspath(__file__))
_places = [os.path.abspath(entry or ".") for entry in sys.path]
_behind = len(_places) - _places[::-1].index(_here) if _here in _places else 0
_next = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path[_behind:])
if _next is not None and _next.loader is not None:
    _next.loader.exec_module(importlib.util.module_from_spec(_next))
