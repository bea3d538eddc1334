"""The games that a page plays: begun from a recipe or from drawn points, opened by an address, or forked; its
orders, checked."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zerosum import recipe as recipes
from zerosum.page import address, tour
from zerosum.page.address import Place, fields_of
from zerosum.page.formats import wrong
from zerosum.page.player import ORDERS, Player, fork
from zerosum.recipe import Recipe, RecipeError
from zerosum.run.log import RunError

__all__ = ["BREAKS", "OFFERED", "Game", "place_of", "recipe_of", "unused"]

OFFERED = ("ring", "grid", "digits", "vanilla-minimax", "vanilla-nonsaturating")
DRAWN = 3000  # points that a page may draw, at most
BREAKS: dict[str, dict[str, Any]] = {
    "D learns twenty times faster": {"d_optimizer.lr": 0.02, "penalties": []},
    "G learns twenty times faster": {"g_optimizer.lr": 0.02},
    "the minimax loss, and no penalty": {"objective": "minimax", "penalties": []},
    "D hardly learns": {"d_optimizer.lr": 1e-6},
    "ten steps of D to one of G": {"k": 10},
}
"""What can be done to a game on purpose, to see what comes of it and what the diagnosis says."""


def place_of(text: str) -> Place:
    """What a command names: a recipe, or an address."""
    return address.read(text) if "#" in text else Place(text)


def recipe_of(place: Place) -> Recipe:
    """The recipe that the game of a place began with."""
    recipe = tour.load(place.recipe) if place.recipe in tour.STOPS else recipes.load(place.recipe)
    return recipes.changed(recipe, place.fields) if place.fields else recipe


def unused(folder: Path, name: str, besides: Sequence[Path] = ()) -> Path:
    """A directory name-1, name-2, ... that is not there yet."""
    numbered = (folder / f"{name}-{i}" for i in range(1, 10**6))
    return next(path for path in numbered if not path.exists() and path not in besides)


class Game:
    """The game that is played now, and the runs that were begun in `folder`. Orders come one at a time.

    recipe: a recipe, its name or file, or an address; what it names may be begun again by the page. compared:
    the runs of the present game and those it was forked from.
    """

    def __init__(self, folder: Path, recipe: str | Recipe) -> None:
        self.folder = folder
        self.paths: list[Path] = []
        self.compared: list[Path] = []
        self.own = ""
        self._lock = threading.Lock()
        if isinstance(recipe, Recipe):
            self.player = self._player(recipe)
        else:
            place = place_of(recipe)
            self.own = place.recipe
            self.player = self._opened(place)

    offered, breaks = OFFERED, BREAKS

    @property
    def name(self) -> str:
        """The recipe of the present game, where it has one."""
        return self.player.place.recipe if self.player.place else ""

    def obey(self, text: str) -> None:
        """An order of the page. What is none does nothing."""
        try:
            order = json.loads(text)
            what = order["do"]
            with self._lock:
                self._do(what, order)
        except (RunError, RecipeError, OSError) as error:
            self.player.note(wrong(error))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return

    def _do(self, what: str, order: Mapping[str, Any]) -> None:
        if what in ORDERS:
            self.player.do(what)
        elif what == "change":
            self.player.change(_fields(order["fields"]))
        elif what == "begin":
            fields = _fields(order["fields"]) if order.get("fields") else {}
            if not fields.keys() <= set(address.BEGUN_WITH):
                raise ValueError("what a game begins with")
            self._replace(self._opened(Place(self._allowed(order["recipe"]), fields)))
        elif what == "open":
            place = address.read(order["address"])
            self._allowed(place.recipe)
            if not (self.player.leads_from(place)):
                self._replace(self._opened(place))
        elif what == "draw":
            recipe = recipes.load("ring", {"data": self._drawn(order["points"])})
            self._replace(self._player(replace(recipe, name="drawn")))
        elif what == "fork":
            step, fields, now = int(order["step"]), _fields(order["fields"]), self.player
            recipes.changed(now.recipe, fields)  # or a line that says why not, while the game is still there
            path = self._path(f"{now.path.name}-fork")
            recipe = self._forked(now, step, path)
            self.paths.append(path)
            self.compared.append(path)
            self.player = Player(path, recipe, now.place, first=fields)
            self.player.start()

    def _forked(self, player: Player, step: int, path: Path) -> Recipe:
        """Let go of a game for a fork of it, once that is there."""
        if player.frame["mode"] == "pause" and player.frame["step"] == step:
            player.close()  # which saves this moment
        recipe = fork(player.path, step, path)
        player.close()
        return recipe

    def _replace(self, player: Player) -> None:
        self.player.close()
        self.player = player
        player.start()

    def _allowed(self, name: Any) -> str:
        if name not in (*OFFERED, *tour.STOPS, self.own) or not name:
            raise RunError(f"{name!s:.60}: this page begins {', '.join(OFFERED)}")
        return name

    def _opened(self, place: Place) -> Player:
        """A game of a recipe that goes on by itself until it has come to its place."""
        return self._player(recipe_of(place), place)

    def _player(self, recipe: Recipe, place: Place | None = None) -> Player:
        path = self._path(recipe.name or "drawn")
        player = Player(path, recipe, place)
        self.paths.append(path)
        self.compared = [path]
        return player

    def _path(self, name: str) -> Path:
        return unused(self.folder, name, self.paths)

    def _drawn(self, points: Any) -> Any:
        """Drawn points as data, kept beside the runs."""
        array = np.asarray(points, dtype=np.float32)
        if (
            array.ndim != 2
            or array.shape[1] != 2
            or not 30 <= len(array) <= DRAWN
            or not np.isfinite(array).all()
        ):
            raise RunError(f"draw 30 to {DRAWN:,} points")
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._path("drawn").with_suffix(".npy")
        np.save(file, array.clip(-2, 2))
        return recipes.data_component(str(file))


def _fields(fields: Any) -> dict[str, Any]:
    """Fields that a page may set, or a line that says why not."""
    try:
        return fields_of(fields)
    except ValueError as error:
        raise RunError(f"this cannot be set from a page: a field takes {error}") from error
