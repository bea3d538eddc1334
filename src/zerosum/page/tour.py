"""The tour: six games, each with what it shows, the formula, and what to try; they stand in tour.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from zerosum import recipe as recipes
from zerosum.recipe import Recipe

__all__ = ["STOPS", "Stop", "load"]

_TOUR = yaml.safe_load(resources.files("zerosum.page").joinpath("tour.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Stop:
    """A game to be touched, as tour.yaml describes it."""

    title: str
    text: Sequence[str]
    numbers: Sequence[Sequence[str]]
    recipe: Mapping[str, Any]
    tries: Sequence[tuple[str, dict[str, Any]]]
    turns: int
    at: int
    layers: Sequence[str]


STOPS = {name: Stop(**stop) for name, stop in _TOUR["stops"].items()}


def load(name: str) -> Recipe:
    """The recipe of a stop."""
    fields = {**_TOUR["plain"], "name": name, **STOPS[name].recipe}
    recipe = recipes.load("ring", {field: value for field, value in fields.items() if "." not in field})
    parts = {field: value for field, value in fields.items() if "." in field}
    return recipes.changed(recipe, parts) if parts else recipe
