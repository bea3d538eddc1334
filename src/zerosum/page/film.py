"""Films: what the game of a run looked like at a number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from zerosum import recipe as recipes
from zerosum.page import view
from zerosum.recipe import Recipe
from zerosum.run import checkpoints
from zerosum.run.changes import Change
from zerosum.run.run import Run
from zerosum.run.session import Session

__all__ = ["Film", "differences", "of_checkpoints", "played"]

Film = list[dict[str, Any]]
"""Frames, each with its ``step``; none where there is nothing to be seen."""

FRAMES = 40  # of a film, about


def differences(film: Film) -> Film:
    """Each frame as what is not as in the one before."""
    return [view.difference(a, b) for a, b in pairwise([{}, *film])]


def played(path: Path, recipe: Recipe, changes: Sequence[Change] = ()) -> Film:
    """Play a run to its end, and keep what its game looked like, more closely at first."""
    with Run.start(path, recipe, steered=changes) as run:
        session, drawn = Session(run), view.view(run)
        film = [{"step": run.game.step, **drawn.draw(run.game)}]
        most = 4 * FRAMES if film[0].get("players") else FRAMES  # an orbit should be round
        due = {round(run.recipe.turns * (i / most) ** 1.5) for i in range(most + 1)}
        for turn in run.turns():
            session.after(turn)
            session.prune()
            if run.game.step in due or session.over:
                film.append({"step": run.game.step, **drawn.draw(run.game, fresh=True)})
            if session.over:
                break
        session.end()
    return _worth_seeing(film)


def of_checkpoints(path: Path) -> Film:
    """What the game of a run looked like at the steps that it keeps; nothing where that cannot be had."""
    film: Film = []
    try:
        source = recipes.build_source(Run.open(path).recipe)
        for step in checkpoints.steps(path / "checkpoints"):
            run = Run.open(path, step)
            run.source = source
            film.append({"step": step, **view.view(run).draw(run.game)})
    except Exception:  # data that lie elsewhere, or a part of the user's own, which may raise anything
        return []
    return _worth_seeing(film)


def _worth_seeing(film: Film) -> Film:
    return film if film and film[0]["kind"] != "none" else []
