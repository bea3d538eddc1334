"""A row: what is predicted beside what is measured; and how a measurement comes by its error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from zerosum import theory
from zerosum.theory import Quantity

__all__ = [
    "MULTIPLE",
    "ROUNDING",
    "Row",
    "along",
    "exactly",
    "expectation",
    "largest",
    "mean",
    "squared_norm",
    "written",
]

MULTIPLE = 3
"""How many times their stated errors a prediction and a measurement may differ."""

ROUNDING = 1e-12
"""What float64 may lose in the sums of one turn, whose terms are of order one."""


@dataclass(frozen=True)
class Row:
    """One claim about the game, predicted beside measured.

    topic: the row of the design's table that it belongs to. relation: measured is "=", "<" or ">" predicted,
    where "<" and ">" must hold by more than the errors. how: where the two numbers come from. wrong: answers
    by name that the measurement must tell from the right one.

    >>> half = Quantity(0.5, 0.01, "by hand")
    >>> Row("coins", "heads", half, half, "", {"always": 1.0}).agrees
    True
    """

    topic: str
    claim: str
    predicted: Quantity
    measured: Quantity
    how: str
    wrong: dict[str, float] = field(default_factory=dict)
    relation: str = "="

    def fits(self, prediction: Quantity | float) -> bool:
        """Whether the measurement stands in `relation` to a prediction, at `MULTIPLE` times the errors."""
        other = prediction if isinstance(prediction, Quantity) else exactly(prediction)
        gap = self.measured.value - other.value
        allowed = MULTIPLE * (self.measured.error + other.error)
        return {"=": abs(gap) <= allowed, "<": gap < -allowed, ">": gap > allowed}[self.relation]

    @property
    def agrees(self) -> bool:
        """Whether the prediction fits, and no wrong answer does."""
        return self.fits(self.predicted) and not any(self.fits(value) for value in self.wrong.values())

    def as_line(self) -> str:
        """The row as one line of text."""
        verdict = "agrees" if self.agrees else "DIFFERS"
        measured, predicted = written(self.measured), written(self.predicted)
        return f"  {verdict:7s}  {measured:>22s}  {self.relation} {predicted:<20s}  {self.claim}"

    def as_dict(self) -> dict[str, Any]:
        """The row as plain numbers and text, for JSON."""
        return {**asdict(self), "agrees": self.agrees}


# Measurements ----------------------------------------------------------------------------------------------


def exactly(value: float) -> Quantity:
    """A number that is known in closed form."""
    return Quantity(value, 0.0, "closed form")


def largest(differences: Tensor) -> Quantity:
    """The largest of differences that only rounding should part from zero."""
    return Quantity(float(differences.abs().max()), ROUNDING, f"largest of {differences.numel():,}")


def mean(draws: Tensor) -> Quantity:
    """The mean of independent draws [n]; the error is 1.96 standard errors and rounding."""
    error = 1.96 * float(draws.std()) / math.sqrt(len(draws))
    return Quantity(float(draws.mean()), error + ROUNDING, f"mean of {len(draws)} turns")


def squared_norm(draws: Tensor) -> Quantity:
    """|E g|^2 from independent draws g [n, d], without bias: the mean of g . g' over disjoint pairs."""
    return mean((draws[0::2] * draws[1::2]).sum(1))


def along(draws: Tensor, direction: Tensor) -> Quantity:
    """E g . u for draws g [n, d], u the unit vector of a direction [d]."""
    return mean(draws @ direction / direction.norm())


def expectation(f: Callable[[Tensor], Tensor], density: theory.Density) -> Tensor:
    """E f(x) on the line, for f [n, 1] -> [n]: the trapezoid rule, exact to rounding for smooth f."""
    x = torch.linspace(-15, 15, 2**14 + 1, dtype=torch.float64)[:, None]
    return (density.log_prob(x).exp() * f(x)).sum() * float(x[1] - x[0])


def written(q: Quantity) -> str:
    """A quantity as text: value and error.

    >>> written(Quantity(-1.386294, 0.00123, "by hand")), written(exactly(0.5))
    ('-1.38629 ± 0.001', '0.5')
    """
    value = f"{q.value:.6g}" if abs(q.value) > 1e-6 else f"{q.value:.1g}"
    return f"{value} ± {q.error:.1g}" if q.error else value
