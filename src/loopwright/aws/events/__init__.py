"""EventBridge: rules that bring events of jobs and loops to webhooks and functions."""
