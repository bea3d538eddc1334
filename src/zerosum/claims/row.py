"""A row: what is predicted beside what is measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import wraps
from typing import Any

from zerosum.claims.estimates import exactly
from zerosum.theory import Quantity

__all__ = ["MULTIPLE", "Numbers", "Row", "claim", "plain", "written"]

MULTIPLE = 3
"""How many times their stated errors a prediction and a measurement may differ."""


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


def written(q: Quantity) -> str:
    """A quantity as text: value and error.

    >>> written(Quantity(-1.386294, 0.00123, "by hand")), written(exactly(0.5))
    ('-1.38629 ± 0.001', '0.5')
    """
    value = f"{q.value:.6g}" if abs(q.value) > 1e-6 else f"{q.value:.1g}"
    return f"{value} ± {q.error:.1g}" if q.error else value
