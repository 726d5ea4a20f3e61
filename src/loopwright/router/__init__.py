"""The data plane: one process that owns the public port and outlives the control plane."""
