"""SageMaker's container contract, seen from outside: what every room that starts units shares.

A floor between the rooms and the kernel: images and the runtimes they map to, instance types and
what they occupy, and the parts of a unit's program. Knows no store and no process.
"""
