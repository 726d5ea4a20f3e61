"""What model-based strategies share: the unit cube, the Gaussian process, the search in it."""
