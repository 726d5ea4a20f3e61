"""One early-stopping rule a file, under `stop(trial, history, space) -> str | None`."""
