"""Made-up flats and their rents, the same each time; needs nothing but Python."""

import random
from pathlib import Path

FLAT = [70.0, 3.0, 2.0, 4.0]
"""Square metres, rooms, floor, kilometres to the centre."""


def rent(metres, rooms, floor, kilometres):
    """What a flat costs a month."""
    return 180 + 11.5 * metres + 40 * rooms + 6 * floor - 0.9 * metres * min(kilometres, 8) / 2


def write(path, count=400):
    """Write flats as CSV: the rent first, then what it depends on."""
    chance = random.Random(7)
    lines = []
    for _ in range(count):
        metres = round(chance.uniform(25, 140), 1)
        flat = (metres, max(1, round(metres / 25)), chance.randrange(7), chance.uniform(0.3, 12))
        paid = rent(*flat) + chance.gauss(0, 15)
        lines.append(",".join(f"{value:.2f}" for value in (paid, *flat)))
    Path(path).write_text("\n".join(lines) + "\n")
