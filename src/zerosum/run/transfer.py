"""Transfer: a run that begins with the weights of another, for data that are too few to learn from alone.

G and its average are given the other's averaged G, D the other's D, by the names of their tensors. What has
another shape (another size, width or number of classes) begins anew; so do the optimizers and the schedules.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zerosum.game import Game, Player
from zerosum.recipe import Recipe, RecipeError
from zerosum.recipe.schema import Start
from zerosum.run import files
from zerosum.text import printable

if TYPE_CHECKING:
    from zerosum.run.run import Run

__all__ = ["begin", "settled"]

_LISTED = 4
"""Names of weights in a sentence, at most."""

Opened = Callable[[str, int | None], "Run"]
"""`Run.open`."""


def settled(recipe: Recipe, begun: Recipe | None, opened: Opened) -> Recipe:
    """The recipe with all of `start`: the run, the turn and the digest of its checkpoint.

    A run that has begun from there keeps what it has, and needs the other no more. Raises RunError where
    there is no such run.
    """
    wanted = recipe.start
    if begun is not None and begun.start is not None and (wanted or {}).items() <= begun.start.items():
        return replace(recipe, start=begun.start)
    if wanted is None or wanted.keys() == {"run", "step", "digest"}:
        return recipe
    return replace(recipe, start=_start(opened(wanted["run"], wanted.get("step"))))


def begin(game: Game, start: Start, opened: Opened) -> str:
    """Give the players the weights of the run that `start` names, as far as they fit; and say how far.

    Raises RecipeError where no weight fits or the other run is no longer what `start` says, RunError where
    there is none.
    """
    other = opened(start["run"], start.get("step"))
    given = f"step {other.game.step:,} of {printable(start['run'])}"
    if _start(other) != start:
        raise RecipeError(f"start: {given} is no longer what it was")
    said = [
        _taken("G", game.G, other.game.G.average or other.game.G.network),
        _taken("D", game.D, other.game.D.network),
    ]
    if game.G.average is not None:
        game.G.average.load_state_dict(game.G.network.state_dict())
    return f"begins with {given}: {'; '.join(said)}"


def _start(run: Run) -> Start:
    """Its checkpoint as `start` names it; the digest is of its manifest, which has the checksums of all its
    files."""
    manifest = run.path / "checkpoints" / f"{run.game.step:06d}" / "manifest.json"
    sums = json.loads(files.read(manifest, within=run.path / "checkpoints"))["sha256"]
    digest = sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:16]
    return {"run": str(run.path), "step": run.game.step, "digest": digest}


@torch.no_grad()
def _taken(name: str, player: Player, other: nn.Module) -> str:
    """Give a player the weights of another network that fit, and say how many these are."""
    mine, theirs = player.network.state_dict(), other.state_dict()
    fit = {key: x for key, x in theirs.items() if key in mine and mine[key].shape == x.shape}
    anew = [key for key in mine if key not in fit]
    share = _count(fit) / max(1, _count(mine))
    if not any(x.ndim > 1 for x in fit.values()):  # a bias of the same length says nothing
        raise RecipeError(
            f"start: no weight of {name} has the shape that this recipe's has: take the other run's recipe, "
            f"--{name} and --size"
        )
    player.network.load_state_dict(mine | {key: x.to(mine[key]) for key, x in fit.items()})
    player.optimizer = player.factory(player.parameters)  # some remember where they began
    listed = ", ".join(anew[:_LISTED]) + (f" and {len(anew) - _LISTED} more" if len(anew) > _LISTED else "")
    return f"all of {name}" if not anew else f"{share:.0%} of {name} ({listed} anew)"


def _count(tensors: Mapping[str, Any]) -> int:
    return sum(x.numel() for x in tensors.values() if isinstance(x, Tensor))
