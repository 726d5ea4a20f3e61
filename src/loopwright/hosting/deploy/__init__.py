"""How an update moves traffic: one policy a file; the file's name is its registration.

Each has `steps(policy, counts)`; `policy` is its part of a `DeploymentConfig`, `counts` are the
new fleet's instance counts by variant. Steps and words: the developer guide on deployment
guardrails.
"""
