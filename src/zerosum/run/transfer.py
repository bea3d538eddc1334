"""Transfer: a run that begins with the weights of another, for data that are too few to learn from alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zerosum import recipe as recipes
from zerosum.game import Player
from zerosum.recipe import Recipe, RecipeError
from zerosum.run import autotune, checkpoints, files
from zerosum.run.datacard import DataCard
from zerosum.run.log import Log, disk
from zerosum.run.run import Run
from zerosum.text import printable

__all__ = ["begin"]

_LISTED = 4
"""Names of weights in a sentence, at most."""


def begin(path: Path | str, recipe: Recipe, source: Path | str | None = None) -> tuple[Recipe, list[str]]:
    """Put the first checkpoint of a run into `path`: players with the weights of the run `source`, as far as
    they fit. `Run.start(path, recipe)` of the recipe that comes back goes on from there, and needs `source`
    no more.

    G and its average are given the source's averaged G, D the source's D, by the names of their tensors. What
    has another shape (another size, width or number of classes) begins anew; so do the optimizers and the
    schedules. The recipe names the source, the turn and a digest of its checkpoint as `start`, and a recipe
    that has one begins there again. A run that has begun is left as it is.

    Gives the recipe and what to say: how much was taken, and what was not. Raises RecipeError where no weight
    fits or the source is not what `start` says, RunError where there is no such run or the disk refuses.
    """
    path = Path(path)
    if os.path.lexists(path / "recipe.yaml"):
        begun = Log(path).recipe().start
        as_before = begun is not None and (source is None or begun["run"] == str(source))
        return (replace(recipe, start=begun) if as_before else recipe), []
    wanted = recipe.start or {}
    if source is None and wanted.keys() != {"run", "step", "digest"}:
        raise RecipeError(f"start: it needs run, step and digest, as --from RUN writes them: got {wanted}")
    given = Path(source if source is not None else wanted["run"])
    other = Run.open(given, None if source is not None else wanted["step"])
    start = {"run": str(given), "step": other.game.step, "digest": _digest(other)}
    if source is None and start != wanted:
        raise RecipeError(f"start: step {wanted['step']} of {printable(given)} is no longer what it was")
    data = recipes.build_source(recipe)
    recipe, chosen = autotune.settled(replace(recipe, start=start), data)
    recipe = recipes.settled(recipe)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    game, _ = recipes.build(recipe, data)
    said = [
        _taken("G", game.G, other.game.G.average or other.game.G.network),
        _taken("D", game.D, other.game.D.network),
    ]
    if game.G.average is not None:
        game.G.average.load_state_dict(game.G.network.state_dict())
    with disk(path, "before the first step"):
        path.mkdir(parents=True, exist_ok=True)
        shapes = recipes.path_of_game(recipe)
        checkpoints.save(path / "checkpoints", game.state_dict(), DataCard.of(data), shapes)
        Log(path).write_recipe(recipe)
    about = f"begins with step {other.game.step:,} of {printable(given)}: {'; '.join(said)}"
    return recipe, [*([chosen] if chosen else []), about]


def _digest(run: Run) -> str:
    """Of the checkpoint that a run was opened at: its manifest has the checksums of all its files."""
    manifest = run.path / "checkpoints" / f"{run.game.step:06d}" / "manifest.json"
    sums = json.loads(files.read(manifest, within=run.path / "checkpoints"))["sha256"]
    return sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:16]


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
