"""The charts of a run: modes and coverage first, then the game, then all that the instruments read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from zerosum.objectives import Objective
from zerosum.page.figure import Curve, Figure, Level, Mark
from zerosum.page.formats import finite, number

__all__ = ["LOGGED", "QUALITY", "Charts", "charts", "curve", "late", "points", "words"]

Record = Mapping[str, Any]
Points = list[tuple[float, float]]
Scales = Mapping[str, Any]

QUALITY = ("modes_covered", "high_quality", "coverage", "spread", "duplicates")
"""Readings that say how good the samples are, in the order in which they are shown."""
NAMES = {
    "modes_covered": "modes covered",
    "high_quality": "samples near a mode",
    "coverage": "data that samples come near",
    "spread": "spread of the samples over that of the data",
    "duplicates": "samples with a near twin",
    "value": "V(D, G)",
    "d_real": "D(x), real",
    "d_fake": "D(G(z)), generated",
    "real_logit": "a(x), real",
    "fake_logit": "a(G(z)), generated",
    "d_loss": "loss of D",
    "g_loss": "loss of G",
}
LOGGED = {"step", "d_loss", "g_loss", "real_logit", "fake_logit", "d_real", "d_fake", "value"}
LOGGED |= {"steps_per_second", "seconds", "intervals"}


@dataclass(frozen=True)
class Charts:
    """Three groups of figures; any may be empty."""

    quality: list[Figure]
    game: list[Figure]
    readings: list[Figure]


def points(records: Iterable[Record], key: str) -> Points:
    """(step, value) wherever there is a number."""
    return [(float(r["step"]), y) for r in records if (y := finite(r.get(key))) is not None]


def late(curve: Sequence[tuple[float, float]]) -> float:
    """The mean over the last tenth: where a noisy curve ends. Headline and legend both say this."""
    return fmean(y for _, y in curve[-max(1, len(curve) // 10) :])


def words(key: str) -> str:
    """The name of a quantity for a reader."""
    return NAMES.get(key, key.replace("_", " "))


def curve(records: Sequence[Record], key: str, colour: int = 1, name: str = "") -> Curve | None:
    """A quantity over the steps, with its interval or the middle 90 % of what it is the mean of.

    None where there is no number of it.
    """
    line = points(records, key)
    if not line:
        return None
    band = [
        (float(r["step"]), low, high) for r in records for low, high in [_interval(r, key)] if low is not None
    ]
    return Curve(name or words(key), line, colour, band, value=late(line))


def _interval(record: Record, key: str) -> tuple[Any, Any]:
    intervals = record.get("intervals")
    quantiles = [record.get(f"{key}_q05"), record.get(f"{key}_q95")]
    ends = intervals.get(key, quantiles) if isinstance(intervals, Mapping) else quantiles
    low, high = map(finite, ends) if isinstance(ends, list) and len(ends) == 2 else (None, None)
    return (None, None) if high is None else (low, high)


def charts(
    records: Sequence[Record],
    scales: Scales,
    marks: Sequence[Mark] = (),
    objective: Objective | None = None,
    penalties: Iterable[str] = (),
) -> Charts:
    """The figures of one run; objective and penalties are those of its game, as far as they can be had."""
    make = _maker(records, marks)
    keys = {key for record in records for key in record}
    readings = [key for key in scales if key not in LOGGED and not re.search(r"_q\d\d$", key)]
    quality = [_reading(make, key, scales) for key in QUALITY if key in keys]
    rest = [_reading(make, key, scales, small=True) for key in readings if key not in QUALITY]
    game = _game(make, keys, objective) + _others(make, keys - LOGGED - set(scales), set(penalties))
    return Charts(*([f for f in group if f is not None] for group in (quality, game, rest)))


Maker = Callable[..., Figure | None]


def _maker(records: Sequence[Record], marks: Sequence[Mark]) -> Maker:
    def make(
        keys: Sequence[str], unit: str, *levels: tuple[str, float | None, int | None], **more: Any
    ) -> Figure | None:
        """A figure of these quantities, titled by where they ended."""
        curves = [curve(records, key, i) for i, key in enumerate(keys, 1)]
        drawn = [c for c in curves if c is not None]
        if not drawn:
            return None
        first, *others = [(re.sub(", (real|generated)$", "", c.name), number(c.value)) for c in drawn]
        ends = f"{first[0][:1].upper()}{first[0][1:]} ends at {first[1]}"
        title = ", ".join([ends, *(f"{name} at {value}" for name, value in others)])
        lines = [Level(name, y, colour) for name, y, colour in levels if y is not None]
        return Figure(title, drawn, "step", unit, lines, marks, **more)

    return make


def _game(make: Maker, keys: set[str], objective: Objective | None) -> list[Figure | None]:
    """V, D and the losses, with where they rest."""
    smoothed, rest = "", None if objective is None else objective.resting_probability
    if rest is not None and abs(rest - 0.5) > 1e-4:
        smoothed = f"The labels are smoothed: this game rests at D = {number(rest, 3)}."
    spread = "The bands hold 90 % of the examples." if keys & {"d_real_q05", "real_logit_q05"} else ""
    half = ("1/2, the equilibrium", 0.5, None)
    probable = {"d_real", "d_fake"} <= keys
    d, g = (None, None) if objective is None else (objective.equilibrium, objective.resting_g_loss)
    unknown = "Where the equilibrium lies is not known without a checkpoint." if objective is None else ""
    return [
        make(["value"], "nats", ("−log 4, the equilibrium", -math.log(4), None),
             caption=smoothed),
        make(["d_real", "d_fake"], "probability, mean", half, caption=spread) if probable else
        make(["real_logit", "fake_logit"], "logit, mean",
             caption=f"Here logits are no probabilities: their gap counts. {spread}"),
        make(["d_loss", "g_loss"], "loss without penalties", ("D at equilibrium", d, 1),
             ("G at equilibrium", g, 2), caption=unknown),
    ]  # fmt: skip


def _others(make: Maker, keys: set[str], penalties: set[str]) -> list[Figure | None]:
    """Penalties in one chart, whatever else was logged in one each."""
    added = sorted(keys & penalties)
    figures = [make(added, "added to D's loss")] if added else []
    return figures + [make([key], "") for key in sorted(keys - set(added))]


def _reading(make: Maker, key: str, scales: Scales, small: bool = False) -> Figure | None:
    """A reading with its quantiles, its unit and its value at the equilibrium."""
    scale = scales.get(key)
    unit, rest = scale if isinstance(scale, list | tuple) and len(scale) == 2 else ("", None)
    return make([key], str(unit), ("at the equilibrium", finite(rest), None), small=small)
