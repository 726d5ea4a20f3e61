"""Random generators of suggestions."""

import hashlib

import numpy as np


def generator(seed: int, definition: str, index: int) -> np.random.Generator:
    """The generator of the suggestion of this index: the same whatever was drawn before it.

    Args:
        seed: `RandomSeed` of the tuning job, 0 and up.
        definition: Name of the training definition, so that several draw different points.
    """
    spread = int.from_bytes(hashlib.blake2b(definition.encode(), digest_size=4).digest())
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, spread, index])))
