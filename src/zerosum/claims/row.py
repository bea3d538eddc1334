"""A row: what is predicted beside what is measured; and how a measurement comes by its error."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from zerosum import theory
from zerosum.theory import Quantity

__all__ = [
    "MULTIPLE",
    "ROUNDING",
    "Numbers",
    "Row",
    "along",
    "claim",
    "exactly",
    "expectation",
    "largest",
    "mean",
    "plain",
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

    topic: the row of the design's table that it belongs to. tex: the claim, with its formulas in TeX between
    dollars; claim: the same as plain text. relation: measured is "=", "<" or ">" predicted, where "<" and ">"
    must hold by more than the errors. how: where the two numbers come from. wrong: answers by name, in TeX
    too, that the measurement must tell from the right one.

    >>> half = Quantity(0.5, 0.01, "by hand")
    >>> Row("coins", "heads", half, half, "", {"always": 1.0}).agrees
    True
    """

    topic: str
    tex: str
    predicted: Quantity
    measured: Quantity
    how: str
    wrong: dict[str, float] = field(default_factory=dict)
    relation: str = "="

    @property
    def claim(self) -> str:
        return plain(self.tex)

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
        wrong = {plain(name): value for name, value in self.wrong.items()}
        return {"claim": self.claim, **asdict(self), "wrong": wrong, "agrees": self.agrees}


Numbers = tuple[Quantity, Quantity, dict[str, float]]
"""What a row holds of a seed: predicted, measured, and the wrong answers."""


def claim(topic: str, text: str, relation: str = "=") -> Callable[[Callable[[int], Numbers]], Claim]:
    """Make a function of the seed that measures into one that gives the row; its docstring says how."""

    def with_row(measure: Callable[[int], Numbers]) -> Claim:
        @wraps(measure)
        def row(seed: int) -> Row:
            predicted, measured, wrong = measure(seed)
            how = " ".join((measure.__doc__ or "").split())
            return Row(topic, text, predicted, measured, how, wrong, relation)

        return row

    return with_row


Claim = Callable[[int], Row]

_TYPED = {r"\leftarrow": "<-", r"\nabla": "grad", r"\pm ": "+-", r"\|": "||"}


def plain(text: str) -> str:
    """Text whose formulas in TeX are written as one types them.

    >>> plain(r"where $D^* = p_\\text{data}/2$, $V = -\\log 4$")
    'where D* = p_data/2, V = -log 4'
    """
    parts = text.split("$")
    for i in range(1, len(parts), 2):
        typed = re.sub(r"\\(text|,)", lambda match: "" if match[1] == "text" else " ", parts[i])
        typed = re.sub(r"\\pm |\\(leftarrow|nabla|\|)", lambda match: _TYPED[match[0]], typed)
        parts[i] = re.sub(r"[\\{}^]", "", typed)
    return "".join(parts)


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
