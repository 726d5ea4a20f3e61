"""`python -m loopwright.runtime VERB`: see `loopwright.runtime.main`."""

import sys

from loopwright.runtime.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
