"""The random cut forest: scores, and how its endpoint answers.

All trees lie one behind the other in flat arrays, so that one step of numpy moves every pair of a
row and a tree one level down. Inner nodes have a cut and the box of the points below; a row
outside a box could have been cut off there first, with a known probability, so the expectation
over all insertions needs no chance.

Sources: Guha, Mishra, Roy and Schrijvers, "Robust random cut forest based anomaly detection on
streams" (ICML 2016); https://docs.aws.amazon.com/sagemaker/latest/dg/rcf_how-it-works.html;
https://docs.aws.amazon.com/sagemaker/latest/dg/rcf-in-formats.html.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from loopwright.algorithms import artifacts
from loopwright.algorithms.recordio import Array
from loopwright.algorithms.serving import Columns, RowAlgorithm

NAME: Final = "randomcutforest"
LEAF: Final = -1
# Numbers held at once while scoring.
_CHUNK_VALUES: Final = 4_000_000


@dataclass(frozen=True)
class Forest:
    """Trees of random cuts.

    Attributes:
        roots: Node of each tree's root, shape (trees,).
        masses: Points of each tree, shape (trees,).
        axis: Column that a node cuts, or LEAF, shape (nodes,).
        cut: Rows at or below it go left, shape (nodes,).
        left: Child; the right one is in `right`. Shape (nodes,).
        right: See left.
        mass: Points below a node, shape (nodes,).
        low: Lower corner of the box of the points below, shape (nodes, columns).
        high: Upper corner.
    """

    roots: Array
    masses: Array
    axis: Array
    cut: Array
    left: Array
    right: Array
    mass: Array
    low: Array
    high: Array

    @property
    def columns(self) -> int:
        return int(self.low.shape[1])

    def score(self, rows: Array) -> Array:
        """Anomaly scores, shape (rows,): about 1 for usual rows, more for unusual ones."""
        size = max(1, _CHUNK_VALUES // (len(self.roots) * self.columns))
        parts = [self._score(rows[first : first + size]) for first in range(0, len(rows), size)]
        return np.concatenate(parts) if parts else np.empty(0)

    def predict(self, rows: Array) -> Columns:
        """`score`."""
        # Rounded as the training rows were, or a known point would be a stranger.
        return {"score": self.score(rows.astype(np.float32).astype(np.float64))}

    def _score(self, rows: Array) -> Array:
        trees = len(self.roots)
        # One pair for each row and tree.
        row = np.repeat(np.arange(len(rows)), trees)
        node = np.tile(self.roots, len(rows))
        root_mass = np.tile(self.masses, len(rows)).astype(np.float64)
        pair = np.arange(len(row))
        # What is still open of a pair's expectation, and what it has come to.
        chance, found = np.ones(len(row)), np.zeros(len(row))
        depth = 0
        while len(pair):
            points = rows[row]
            apart, inside = self._apart(points, node)
            leaf = self.axis[node] == LEAF
            found[pair] += chance * apart / (depth + 1.0)
            same = leaf & inside
            mass = self.mass[node].astype(np.float64)
            seen = (1.0 - mass / (2.0 * root_mass)) / (depth + np.log2(mass + 1.0))
            found[pair[same]] += chance[same] * seen[same]
            going = ~leaf & (apart < 1.0)
            pair, row, node, points = pair[going], row[going], node[going], points[going]
            chance, root_mass = (chance * (1.0 - apart))[going], root_mass[going]
            below = points[np.arange(len(node)), self.axis[node]] <= self.cut[node]
            node = np.where(below, self.left[node], self.right[node])
            depth += 1
        scale = np.tile(np.log2(self.masses + 1.0), len(rows))
        means: Array = (found * scale).reshape(len(rows), trees).mean(axis=1)
        return means

    def _apart(self, points: Array, node: Array) -> tuple[Array, Array]:
        """The chance that a cut parts each point from the box of its node; whether it is inside."""
        low, high = self.low[node], self.high[node]
        outside = np.maximum(low - points, 0.0).sum(axis=1)
        outside += np.maximum(points - high, 0.0).sum(axis=1)
        whole = (high - low).sum(axis=1) + outside
        inside = outside <= 0.0
        return np.where(inside, 0.0, outside / np.maximum(whole, 1e-300)), inside


class RandomCutForest(RowAlgorithm):
    """The endpoint."""

    list_name = "scores"

    def load(self, folder: Path) -> Forest:
        _, arrays = artifacts.served(folder, NAME)
        return Forest(**{name: arrays[name] for name in Forest.__dataclass_fields__})


algorithm = RandomCutForest()
