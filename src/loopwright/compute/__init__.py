"""Where units run: the process backend with its shim and sandbox, and a simulated one."""
