"""The two ways a built-in algorithm fails, in the words AWS's containers use for them."""

from loopwright.runtime.failure import UnitFailure


class CustomerError(UnitFailure):
    """The user can prevent it: a hyperparameter, a channel, the content of a file."""

    def __init__(self, sentence: str) -> None:
        super().__init__(f"ClientError: {sentence}")


class AlgorithmError(UnitFailure):
    """The algorithm itself failed."""

    def __init__(self, sentence: str) -> None:
        super().__init__(f"AlgorithmError: {sentence}")
