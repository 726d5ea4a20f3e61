"""The worker portal: sign-in, lists of tasks, one task at a time."""
