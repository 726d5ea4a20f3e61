"""Every strategy keeps the contract, and does what its method promises."""

from types import ModuleType

import pytest

from loopwright.testing.strategies import StrategyContract, strategies


@pytest.mark.parametrize("strategy", strategies().values(), ids=strategies().keys())
class TestStrategies(StrategyContract):
    """The contract, once for every module of the family."""

    strategy: ModuleType
