"""Records, kinds, planners and the engine: the idea of Loopwright, without AWS and without ML."""
