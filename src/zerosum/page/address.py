"""A game at a moment as a line of text: the recipe, what it began with, each change with its step, the step.

>>> read("recipe=ring&seed=3&step=50&changes=[[20,{%22k%22:2}]]").step
50

It holds nothing of a machine, and no token: whoever opens it plays the same game to the same moment.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from zerosum.run.changes import Change
from zerosum.run.log import RunError

__all__ = ["BEGUN_WITH", "Place", "command", "fields_of", "read"]

BEGUN_WITH = ("seed", "latent", "prior")
"""Fields of a recipe that a page may set where a game begins: none of them can change while it is played."""
LONGEST = 2**14  # characters of an address
LARGEST = 10_000  # number that a field may be set to, at most: a turn of more steps would not end


@dataclass(frozen=True)
class Place:
    """A game at a moment. fields: of `BEGUN_WITH`, where they are others than the recipe's."""

    recipe: str
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    changes: Sequence[Change] = ()
    step: int = 0

    def __str__(self) -> str:
        changes = [[change.step, change.fields] for change in self.changes]
        parts = {"recipe": self.recipe, **self.fields, "step": self.step}
        parts |= {"changes": json.dumps(changes, separators=(",", ":"))} if changes else {}
        return urlencode(parts, quote_via=quote, safe="[]{}:,/")

    def leads_to(self, other: Place) -> bool:
        """Whether the other is a later moment of this very game."""
        mine, later = ([(c.step, dict(c.fields)) for c in one.changes] for one in (self, other))
        begun = (self.recipe, dict(self.fields)) == (other.recipe, dict(other.fields))
        return begun and self.step <= other.step and mine == later[: len(mine)]


def read(text: str) -> Place:
    """The place of an address, or of what follows its #. Raises RunError for what is none."""
    try:
        pairs = dict(parse_qsl(text.partition("#")[2] or text, strict_parsing=True, errors="strict"))
        begun = {name: pairs.pop(name) for name in BEGUN_WITH if name in pairs}
        changes = [
            Change(_whole(step), fields_of(fields), written=False)
            for step, fields in json.loads(pairs.pop("changes", "[]"))
        ]
        step, recipe = _whole(pairs.pop("step", 0)), pairs.pop("recipe")
        if pairs or len(text) > LONGEST:
            raise ValueError(text)
        fields = {name: value if name == "prior" else _whole(value) for name, value in begun.items()}
        return Place(recipe, fields_of(fields) if fields else {}, changes, step)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RunError(
            "an address of a game says recipe=NAME&step=N, and may say seed, latent, prior and changes"
        ) from error


def command(place: Place) -> str:
    """What opens a place on any machine."""
    return f"zerosum watch --play {shlex.quote(f'#{place}')}"


def fields_of(fields: Any) -> dict[str, Any]:
    """Fields of a recipe by their paths; a page may set them to numbers, to names of ours and to short lists
    of these, and penalties to parts that are made of them. Raises ValueError for anything else."""
    if not isinstance(fields, dict) or not 1 <= len(fields) <= 20:
        raise ValueError("some fields")
    for name, value in fields.items():
        items = value if isinstance(value, list) else [value]
        if not isinstance(name, str) or len(name) + len(items) > 100:
            raise ValueError("a field, and a short list")
        parts = name == "penalties" and all(isinstance(item, dict) for item in items)
        if not all(map(_plain, [x for item in items for x in item.values()] if parts else items)):
            raise ValueError("a name or a number")
    return fields


def _plain(value: Any) -> bool:
    """No module that would be imported, no path, and no number that a turn would not end for."""
    if isinstance(value, str):
        return value.isidentifier()
    return isinstance(value, bool | int | float) and abs(value) <= LARGEST


def _whole(text: Any) -> int:
    number = int(text)
    if not 0 <= number < 2**31:
        raise ValueError(text)
    return number
