"""What is searched: fields of a recipe with the values that they may take, as they are typed.

32,64,128                     one of these; each is a value as `zerosum train` takes it
0.0:0.9                       any number between the two; any whole number where both are whole
1e-4:1e-2:log                 the same, evenly by the logarithm
g_optimizer.lr,d_optimizer.lr several fields that always have the same value
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from zerosum import recipe as recipes
from zerosum.recipe import Recipe, RecipeError

__all__ = ["Range", "divided"]


@dataclass(frozen=True)
class Range:
    """The values that some fields may take, all of them the same.

    name: the fields as typed, with commas between. choices: texts of which each is a value; otherwise any
    number from low to high.
    """

    name: str
    text: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    @property
    def fields(self) -> list[str]:
        return self.name.split(",")

    @property
    def distribution(self) -> BaseDistribution:
        """As optuna has it."""
        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def settings(self, drawn: Any) -> dict[str, Any]:
        """What a drawn value makes of the fields."""
        value = recipes.value(drawn) if self.choices else drawn
        return dict.fromkeys(self.fields, value)

    def drawn(self, recipe: Recipe) -> Any:
        """What would have to be drawn for the recipe as it is; None where that is not within the range."""
        leaves = dict(recipes.leaves(recipes.resolved(recipe)))
        values = {str(leaves.get(field)): leaves.get(field) for field in self.fields}
        value = next(iter(values.values()))
        if len(values) > 1 or value is None:
            return None
        if self.choices:
            return next((text for text in self.choices if recipes.value(text) == value), None)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = number and self.low <= value <= self.high and (not self.whole or value == int(value))
        return (int(value) if self.whole else float(value)) if fits else None

    def extremes(self) -> Iterable[dict[str, Any]]:
        """The settings at the two ends, or those of every choice."""
        low, high = (int(x) if self.whole else x for x in (self.low, self.high))
        return map(self.settings, self.choices or (low, high))


def divided(fields: Mapping[str, str]) -> tuple[list[Range], dict[str, str]]:
    """The ranges among typed fields, and those that have one value.

    Raises RecipeError for a range that cannot be, and for a field that has two.
    """
    ranges = [found for name, text in fields.items() if (found := _range(name, text)) is not None]
    fixed = {name: text for name, text in fields.items() if name not in {r.name for r in ranges}}
    taken: dict[str, str] = {}
    for name in fields:
        for field in name.split(","):
            if not field:
                raise RecipeError(f"--{name}: a field is missing beside a comma")
            if field in taken:
                raise RecipeError(f"{field} is set by --{taken[field]} and by --{name}: leave one out")
            taken[field] = name
    one = next((name for name in fixed if "," in name), None)
    if one is not None:
        raise RecipeError(f"--{one} {fixed[one]}: several fields share a range: give 1e-4:1e-2:log, or 1,2,3")
    return ranges, fixed


def _range(name: str, text: str) -> Range | None:
    choices = _split(text)
    if len(choices) > 1:
        if "" in choices or len({str(recipes.value(choice)) for choice in choices}) < len(choices):
            raise RecipeError(f"--{name} {text}: of the choices, none may be empty or there twice")
        return Range(name, text, tuple(choices))
    low, colon, rest = text.partition(":")
    ends = [_number(low), *map(_number, rest.split(":")[:1])]
    if not colon or ends[0] is None:  # such as {name: mlp}, or my_module:network
        return None
    high, _, kind = rest.partition(":")
    if ends[1] is None or kind not in ("", "log"):
        raise RecipeError(f"--{name} {text}: a range is LOW:HIGH or LOW:HIGH:log, such as 1e-4:1e-2:log")
    if not ends[0] < ends[1]:
        raise RecipeError(f"--{name} {text}: {low} is not below {high}")
    if kind and ends[0] <= 0:
        raise RecipeError(f"--{name} {text}: {low} has no logarithm: begin above 0, or leave out :log")
    whole = not {*low, *high} & {*".eE"}
    return Range(name, text, (), ends[0], ends[1], bool(kind), whole)


def _split(text: str) -> list[str]:
    """The texts between the commas that are in no brackets and no quotes."""
    parts, depth, quote = [""], 0, ""
    for c in text:
        quote = "" if c == quote else quote or (c if c in "'\"" else "")
        depth += 0 if quote else (c in "[{(") - (c in "]})")
        if c == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += c
    return [part.strip() for part in parts]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
