"""The best checkpoint of a run, and whether to train on: from `sample_distance`, read at every checkpoint.

The reading judges what a checkpoint is kept for, the samples of the averaged generator, on held-out data and
without labels. Its noise and its real examples are the same every time, so that readings are compared in
pairs; how far any of them is from the truth is told by its interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zerosum.watch.history import GAIN, IDLE, IDLE_READINGS, Record, is_number

__all__ = ["READING", "Best", "best"]

READING = "sample_distance"
SEEN = 1 / 3  # of half of a reading's interval, by which two readings differ by more than chance


@dataclass(frozen=True)
class Best:
    """step, value, low, high: of the least reading so far; of those that cannot be told from it, or from 0,
    the newest.

    since: the step at which the least reading was last lowered, by a tenth and by more than chance. done:
    whether that is five readings and 40 % of all turns ago.
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
    top, lowest, least, since, idle = rows[0], math.inf, rows[0][READING], rows[0]["step"], -1
    for row in rows:
        now, (low, high) = row[READING], _ends(row)
        noise, idle = (high - low) / 2, idle + 1
        if now < least - max((1 - GAIN) * abs(least), SEEN * noise):
            least, since, idle = now, row["step"], 0
        lowest = min(lowest, now)
        top = row if now <= max(lowest + SEEN * noise, noise) else top
    last = rows[-1]["step"]
    done = idle >= IDLE_READINGS and last - since >= IDLE * last
    return Best(top["step"], top[READING], *_ends(top), since, done)


def _ends(row: Record) -> tuple[float, float]:
    low, high = row.get("intervals", {}).get(READING, (row[READING], row[READING]))
    return low, high
