"""The best checkpoint of a run, and whether to train on: from `sample_distance`, read at every checkpoint.

The reading judges what a checkpoint is kept for, the samples of the averaged generator, on held-out data and
without labels. Its noise and its real examples are the same every time. So its interval tells how far any
reading is from the truth, and how far two of them differ by chance is seen from how they scatter about their
running medians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from zerosum.watch.history import GAIN, IDLE, IDLE_READINGS, RISE, Record, is_number
from zerosum.watch.shortfall import COVERAGE, EQUAL

__all__ = ["READING", "Best", "best"]

READING = "sample_distance"
SEEN = 1 / 3  # of half of a reading's interval, by which a reading is lowered by more than chance
MORE = 4 / 3  # times the most of the data that was covered so far, from where on clearly more is
SCATTER = 2.0  # times the typical distance of a reading from its running median, within which two are equal
NEAR = 1 / 8  # of half of a reading's interval, within which they are too: far less than could matter


@dataclass(frozen=True)
class Best:
    """step, value, low, high: of the checkpoints that cover as much of the data as any, the least reading so
    far; of those that cannot be told from it, the newest.

    since: the step at which something was last gained: the least reading lowered, by a tenth and by more than
    chance, as long as it could be told from 0; or a third more of the data covered. done: whether that is
    five readings and 40 % of all turns ago.
    """

    step: int
    value: float
    low: float
    high: float
    since: int
    done: bool


def best(records: Sequence[Record]) -> Best | None:
    """What the readings in these records, in the order of time, say; None where there are none."""
    rows = [r for r in records if is_number(r.get(READING)) and r["step"] > 0]
    if not rows:
        return None
    covered = _coverage(records)
    since = max(_lowered(rows), _covered(covered))
    last = rows[-1]["step"]
    idle = sum(row["step"] > since for row in rows)
    done = idle >= IDLE_READINGS and last - since >= IDLE * last
    top = _top(rows, covered)
    return Best(top["step"], top[READING], *_ends(top), since, done)


def _coverage(records: Sequence[Record]) -> list[tuple[int, float]]:
    """The share of the data that samples cover, medians of three; as far as what is missing can be seen."""
    rows = [(r["step"], r["coverage"]) for r in records if is_number(r.get("coverage"))]
    medians = (median(x for _, x in rows[max(0, i - 2) : i + 1]) for i in range(len(rows)))
    return [(step, min(x, EQUAL * COVERAGE)) for (step, _), x in zip(rows, medians, strict=True)]


def _lowered(rows: Sequence[Record]) -> int:
    """The step at which the least reading was last lowered."""
    least = rows[0]
    for row in rows[1:]:
        x, now, (low, high) = least[READING], row[READING], _ends(row)
        told = _ends(least)[0] > 0
        if told and now < x - max((1 - GAIN) * abs(x), SEEN * (high - low) / 2):
            least = row
    return least["step"]


def _covered(covered: Sequence[tuple[int, float]]) -> int:
    """The step at which the samples last covered clearly more of the data than before."""
    most, since = 0.0, 0
    for step, x in covered:
        if x > max(MORE * most, RISE):
            most, since = x, step
    return since


def _top(rows: Sequence[Record], covered: Sequence[tuple[int, float]]) -> Record:
    """Checkpoint by checkpoint, as others are not kept: whether the newest is as good as the best so far. The
    energy distance does not see how narrow a mode is: what covers more of the data comes before."""
    top, most, least = rows[0], -RISE, math.inf
    for i, row in enumerate(rows):
        share = next((x for at, x in reversed(covered) if at <= row["step"]), 0.0)
        if share > most + RISE:
            top, most, least = row, share, row[READING]
        elif share >= most - RISE:
            values = [r[READING] for r in rows[: i + 1]]
            low, high = _ends(row)
            equal = max(SCATTER * _scatter(values), NEAR * (high - low) / 2)
            top = row if row[READING] <= least + equal else top
            least = min(least, row[READING])
    return top


def _scatter(values: Sequence[float]) -> float:
    """The typical distance of a value from the median of it and its neighbours."""
    around = (abs(values[i] - median(values[i - 1 : i + 2])) for i in range(1, len(values) - 1))
    return median([*around, 0.0])


def _ends(row: Record) -> tuple[float, float]:
    low, high = row.get("intervals", {}).get(READING, (row[READING], row[READING]))
    return low, high
