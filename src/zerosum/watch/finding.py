"""What a diagnosis says: findings with their level, the numbers that show them, and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as filled
from typing import Any, Literal

__all__ = ["LEVELS", "Advice", "Evidence", "Finding", "Level"]

Level = Literal["fault", "warning", "note"]
LEVELS: tuple[Level, ...] = ("fault", "warning", "note")


@dataclass(frozen=True)
class Advice:
    """A field of the recipe, the value to try, and why. also: further fields, which it needs to help."""

    field: str
    value: Any
    why: str
    also: Mapping[str, Any] = filled(default_factory=dict)

    @property
    def fields(self) -> dict[str, Any]:
        """All that is to be changed."""
        return {self.field: self.value, **self.also}

    @property
    def option(self) -> str:
        """As it is typed behind `zerosum train RECIPE`.

        >>> Advice("penalties", [{"name": "r1", "weight": 1.0}], "", {"k": 1}).option
        "--penalties '[{name: r1, weight: 1.0}]' --k 1"
        """
        return " ".join(f"--{name} {_typed(value)}" for name, value in self.fields.items())

    def __str__(self) -> str:
        return f"{self.option}: {self.why}"


def _typed(value: Any) -> str:
    import shlex

    import yaml

    dumped = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return shlex.quote(dumped.removesuffix("\n").removesuffix("...").strip())


@dataclass(frozen=True)
class Evidence:
    """A number that shows a finding.

    quantity: what was measured: a reading by its name, or one of `zerosum.watch.words`. limit: from where on
    it counts; None for a number that only stands beside. curves: the readings that it was made of. others:
    further numbers and names that a sentence about it needs.
    """

    quantity: str
    value: float
    limit: float | None = None
    curves: tuple[str, ...] = ()
    others: Mapping[str, Any] = filled(default_factory=dict)

    def __str__(self) -> str:
        from zerosum.watch.words import sentence

        return sentence(self)


@dataclass(frozen=True)
class Finding:
    """A fault, or how the game stands.

    level: "fault": the samples suffer from it, or nothing can be right with it; "warning": they may soon;
    "note": it is so, and does no harm; states are notes. since: the first step of the last row of readings
    that show it. confidence: 1/2 at the limit, up to 1; it is no probability. advice: the best first, of
    faults only.
    """

    name: str
    level: Level
    since: int
    confidence: float
    evidence: tuple[Evidence, ...] = ()
    advice: tuple[Advice, ...] = ()

    @property
    def fault(self) -> bool:
        return self.level == "fault"

    @property
    def curves(self) -> tuple[str, ...]:
        """The readings that its evidence is made of, each once."""
        return tuple(dict.fromkeys(curve for e in self.evidence for curve in e.curves))

    def as_dict(self) -> dict[str, Any]:
        """As plain data: what events.jsonl and `zerosum diagnose --json` hold."""
        return {
            "name": self.name,
            "level": self.level,
            "since": self.since,
            "confidence": self.confidence,
            "evidence": [
                {
                    "quantity": e.quantity,
                    "value": _finite(e.value),
                    "limit": _finite(e.limit),
                    "curves": list(e.curves),
                    "others": {name: _finite(x) for name, x in e.others.items()},
                    "sentence": str(e),
                }
                for e in self.evidence
            ],
            "advice": [
                {"field": a.field, "value": a.value, "also": {**a.also}, "why": a.why, "option": a.option}
                for a in self.advice
            ],
        }

    def __str__(self) -> str:
        head = f"{self.level}: {self.name} since step {self.since:,} (confidence {self.confidence:.2f})"
        text = "; ".join(map(str, self.evidence))
        tries = "".join(f"\n  try {advice}" for advice in self.advice)
        return f"{head}: {text}.{tries}" if text else head + tries


def _finite(x: Any) -> Any:
    """None in place of what JSON has no number for."""
    return None if isinstance(x, float) and not math.isfinite(x) else x
