"""One strategy a file; the file's name is its registration (`Bayesian` is `bayesian.py`)."""
