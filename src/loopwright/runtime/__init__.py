"""Everything that runs inside a unit, behind SageMaker's container contract.

Knows `/opt/ml`, the user's scripts and the model server. Must never know the control plane: it
imports nothing from the other rooms, and only the standard library until a verb needs more, so a
unit starts quickly and can run under a user's interpreter.
"""
