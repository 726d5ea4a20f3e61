"""Lambda's face: a user's own Python functions, each invocation a sandboxed unit."""
