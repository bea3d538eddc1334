"""The records of a run, looked at from the newest back, and how its samples have come along.

Time is counted by how far the players move. A player that moves by the share u of its weights in a turn is a
new player after 1/u turns: that is one unit. A fault must hold for several readings in a row and for some
units, and the first units do not count, so that one table of limits serves slow and fast games.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from statistics import fmean, median
from typing import Any

__all__ = ["Course", "History", "Record", "Streak"]

Record = Mapping[str, Any]

WARM_UP = 1.5  # units of time that do not count at the start
PATIENCE = 0.5  # units of time for which something holds before it is said
READINGS = 3  # readings for which it holds before it is said
MOST = 0.75  # of the readings in that time show it
PACE = (1e-3, 2e-2)  # update shares beyond these are taken as these where time is counted
PACE_OF_G = 2e-3  # the least where it is counted for G alone: one that hardly moves is not given for ever
DEPTH = 400  # records looked back at, but for the course of the samples
MOVES = ("d_update_share", "g_update_share")

GAIN = 0.9  # of the least energy distance so far, below which the samples have got better
RISE = 0.03  # of coverage above the most so far, with which they have too, if
NO_FARTHER = 1.1  # times the least distance (or what can be seen) is as far as they are
IDLE = 0.4  # of all turns, without such a gain, after which the samples no longer improve
IDLE_READINGS = 5  # and so many readings
IDLE_UNITS = 1.5  # and such units of the time of G, which makes them
PLANNED = 0.05  # and so many of the turns that are planned
WORSE = 2.0  # times the least energy distance so far, above which the samples have got worse
VISIBLE = 0.03  # energy distance above which it can be seen in the samples


@dataclass(frozen=True)
class Streak:
    """Records in a row, the newest first, which show something."""

    rows: list[Record]

    @property
    def since(self) -> int:
        return self.rows[-1]["step"]

    def mean(self, name: str) -> float:
        return fmean(row[name] for row in self.rows)


@dataclass(frozen=True)
class Course:
    """How the samples have come along, by their energy distance from the data and by the share of the data
    that they cover (medians of three readings).

    best: the least distance so far, but no less than the noise of a reading. now: the newest. at: when it was
    last undercut by a tenth, or the greatest coverage surpassed; since: how many readings there were after
    that. idle: whether they have stopped getting better. worse: whether they were clearly better once.
    """

    best: float
    at: int
    now: float
    since: int
    idle: bool
    worse: bool


class History:
    """Records in the order of time, looked at from the newest back. planned: turns of the whole run."""

    def __init__(self, records: Sequence[Record], planned: int = 0) -> None:
        self.all, self.planned = records, planned
        self.records = [r for r in islice(reversed(records), DEPTH) if "step" in r]
        self.step: int = self.records[0]["step"] if self.records else 0

    def latest(self, name: str) -> float:
        """The newest value of a reading; nan where there is none but of the first units of time."""
        first = WARM_UP * self.unit
        values = (r[name] for r in self.records if r["step"] >= first and is_number(r.get(name)))
        return next(values, math.nan)

    def recent(self, name: str, n: int = 3) -> float:
        """The median of the newest n values of a reading; nan where there is none."""
        values = self.series(name, n)
        return median(values) if values else math.nan

    def series(self, name: str, n: int) -> list[float]:
        """The newest n values of a reading, in the order of time."""
        values = (x for r in self.records if (x := r.get(name)) is not None and math.isfinite(x))
        return list(islice(values, n))[::-1]

    @cached_property
    def unit(self) -> float:
        """Turns in which a player moves by as much as its weights, when it is quickest."""
        shares = [r[name] for r in self.records for name in MOVES if is_number(r.get(name))]
        return 1 / min(max([*shares, PACE[0]]), PACE[1]) if shares else 500.0

    @cached_property
    def unit_of_G(self) -> float:
        """Turns in which G typically moves by as much as its weights."""
        shares = [r["g_update_share"] for r in self.records if is_number(r.get("g_update_share"))]
        return 1 / min(max(median(shares), PACE_OF_G), PACE[1]) if shares else 0.0

    @property
    def early(self) -> bool:
        return self.step < WARM_UP * self.unit

    @cached_property
    def course(self) -> Course | None:
        """How the samples have come along; None where nobody looked."""
        rows = [r for r in self.all if is_number(r.get("distance")) and r.get("step", 0) > 0]
        if not rows:
            return None
        best, most, at, since, now = math.inf, 0.0, rows[0]["step"], 0, math.inf
        for i, row in enumerate(rows):
            low, high = row.get("intervals", {}).get("distance", (0.0, 0.0))
            last = rows[max(0, i - 2) : i + 1]
            now = max(median(r["distance"] for r in last), (high - low) / 2, 1e-6)
            covered = median(r.get("coverage", 0.0) for r in last)
            since += 1
            if now < GAIN * best or (covered > most + RISE and now < max(NO_FARTHER * best, VISIBLE)):
                at, since = row["step"], 0
            best = now if now < GAIN * best else best
            most = covered if covered > most + RISE else most
        idle = since >= IDLE_READINGS and self.step - at >= max(
            IDLE * self.step, IDLE_UNITS * self.unit_of_G, PLANNED * self.planned
        )
        worse = now > max(WORSE * best, VISIBLE) and since >= READINGS
        return Course(best, at, now, since, idle, worse)

    def held(
        self,
        names: Sequence[str],
        shown: Callable[..., bool],
        patience: float = PATIENCE,
        readings: int = READINGS,
    ) -> Streak | None:
        """The newest records with these readings, if most of them show something for long enough.

        They go back for `patience` units of time and for so many readings at least; then for as long as every
        one shows it.
        """
        if patience and self.step < (WARM_UP + patience) * self.unit:
            return None
        first = self.step - patience * self.unit
        rows: list[Record] = []
        looked = shows = 0
        for r in self.records:
            values = [r.get(name) for name in names]
            if None in values:
                continue
            good = shown(*values)
            if looked < readings or r["step"] >= first:
                looked, shows = looked + 1, shows + good
            elif not good:
                break
            rows.append(r)
        enough = looked >= readings and rows[-1]["step"] <= first and shows >= MOST * looked
        return Streak(rows) if enough else None

    def ever(self, names: Sequence[str], shown: Callable[..., bool], readings: int) -> Streak | None:
        """The first so many records in a row with these readings which all show something, however old."""
        rows: list[Record] = []
        for r in self.records:
            values = [r.get(name) for name in names]
            if None in values:
                continue
            rows = [*rows, r] if shown(*values) else []
            if len(rows) == readings:
                return Streak(rows)
        return None


def is_number(x: Any) -> bool:
    return isinstance(x, int | float) and x == x
