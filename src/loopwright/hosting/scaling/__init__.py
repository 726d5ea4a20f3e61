"""Application Auto Scaling of endpoints' instances."""
