"""Makes an interpreter of the runtime's that a unit's program started one of its environment.

Python imports this by itself, from PYTHONPATH (`site` of its library). Console scripts of the
runtime (torchrun …) name the runtime's interpreter; what the unit installed is theirs as well.
"""

import os
import sys
from pathlib import Path

if sys.prefix == os.environ.get("LOOPWRIGHT_RUNTIME_PREFIX") and os.environ.get(
    "LOOPWRIGHT_ENVIRONMENT"
):
    from loopwright.runtime import packages

    packages.adopt(Path(os.environ["LOOPWRIGHT_ENVIRONMENT"]))
