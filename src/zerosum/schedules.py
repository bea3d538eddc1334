"""Schedules: numbers that change while the game is played, as functions of the step and of nothing else.

A learning rate, a momentum or a penalty's weight may be given as a schedule. It keeps no state, so a resumed
run finds it where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

__all__ = ["ramp"]

_SHAPES: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda start, end, t: start + (end - start) * t,
    "cosine": lambda start, end, t: start + (end - start) * (1 - cos(pi * t)) / 2,
    "geometric": lambda start, end, t: start * (end / start) ** t,
}


def ramp(
    start: float, end: float, steps: int, begin: int = 0, every: int = 1, shape: str = "linear"
) -> Callable[[int], float]:
    """A schedule: `start` until step `begin`, then to `end` in `steps` steps, held for `every` at a time.

    shape: linear, cosine, or geometric (the same factor at each step; both ends positive).

    >>> [ramp(1.0, 0.0, steps=4, begin=1)(step) for step in range(7)]
    [1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    if shape not in _SHAPES:
        raise ValueError(f"ramp: no shape is called {shape!r}: choose one of {', '.join(_SHAPES)}")
    if steps < 1 or every < 1:
        raise ValueError(f"ramp: steps = {steps} and every = {every} must be >= 1")
    if shape == "geometric" and min(start, end) <= 0:
        raise ValueError(f"ramp: a geometric ramp needs positive ends: start = {start}, end = {end}")
    return _Ramp(start, end, steps, begin, every, shape)


@dataclass(frozen=True)
class _Ramp:
    """See `ramp`. Two that say the same are equal, which a function would not be."""

    start: float
    end: float
    steps: int
    begin: int
    every: int
    shape: str

    def __call__(self, step: int) -> float:
        held = step // self.every * self.every
        return _SHAPES[self.shape](self.start, self.end, min(max(held - self.begin, 0) / self.steps, 1.0))
