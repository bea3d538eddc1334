"""The games that a page plays: begun from a preset or from drawn points, or forked; its orders, checked."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zerosum import recipe as recipes
from zerosum.page.player import ORDERS, Player, fork
from zerosum.recipe import Recipe, RecipeError
from zerosum.run.log import RunError
from zerosum.text import printable

__all__ = ["BREAKS", "OFFERED", "Game"]

OFFERED = ("ring", "grid", "digits", "vanilla-minimax", "vanilla-nonsaturating")
DRAWN = 3000  # points that a page may draw, at most
LARGEST = 10_000  # number that a field may be set to, at most: a turn of more steps would not end
BREAKS: dict[str, dict[str, Any]] = {
    "D learns twenty times faster": {"d_optimizer.lr": 0.02, "penalties": []},
    "G learns twenty times faster": {"g_optimizer.lr": 0.02},
    "the minimax loss, and no penalty": {"objective": "minimax", "penalties": []},
    "D hardly learns": {"d_optimizer.lr": 1e-6},
    "ten steps of D to one of G": {"k": 10},
}
"""What can be done to a game on purpose, to see what comes of it and what the diagnosis says."""


class Game:
    """The game that is played now, and the runs that were begun in `folder`. Orders come one at a time."""

    def __init__(self, folder: Path, recipe: str | Recipe) -> None:
        self.folder = folder
        self.paths: list[Path] = []
        self._lock = threading.Lock()
        self.player = self._player(recipes.load(recipe) if isinstance(recipe, str) else recipe)

    offered, breaks = OFFERED, BREAKS

    def obey(self, text: str) -> None:
        """An order of the page. What is none does nothing."""
        try:
            order = json.loads(text)
            what = order["do"]
            with self._lock:
                self._do(what, order)
        except (RunError, RecipeError) as error:
            self.player.note(printable(error))
        except (ValueError, TypeError, KeyError, RecursionError):
            return

    def _do(self, what: str, order: Mapping[str, Any]) -> None:
        if what in ORDERS:
            self.player.do(what)
        elif what == "change":
            self.player.change(_fields(order["fields"]))
        elif what == "begin" and order["recipe"] in OFFERED:
            self._replace(self._player(recipes.load(order["recipe"])))
        elif what == "draw":
            self._replace(self._player(recipes.load("ring", {"data": self._drawn(order["points"])})))
        elif what == "fork":
            step, now = int(order["step"]), self.player
            path = self._path(f"{now.path.name}-fork")
            now.close()
            recipe = fork(now.path, step, path)
            self.paths.append(path)
            self.player = Player(path, recipes.changed(recipe, _fields(order["fields"])), override=True)
            self.player.start()

    def _replace(self, player: Player) -> None:
        self.player.close()
        self.player = player
        player.start()

    def _player(self, recipe: Recipe) -> Player:
        path = self._path(recipe.name or "drawn")
        self.paths.append(path)
        return Player(path, recipe)

    def _path(self, name: str) -> Path:
        """A directory that is not there yet."""
        return next(path for i in range(1, 10**6) if not (path := self.folder / f"{name}-{i}").exists()
                    and path not in self.paths)  # fmt: skip

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
    """Fields of a recipe by their paths; a page may set them to numbers, and to names of ours."""
    if not isinstance(fields, dict) or not 1 <= len(fields) <= 20:
        raise ValueError("some fields")
    for name, value in fields.items():
        named = isinstance(value, str) and value.isidentifier()  # never a module to be imported
        number = isinstance(value, bool | int | float) and abs(value) <= LARGEST
        if len(name) > 100 or not (named or number or value == []):
            raise ValueError("a name or a number")
    return fields
