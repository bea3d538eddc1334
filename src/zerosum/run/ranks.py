"""A run on several processes: rank 0 leads it and alone has its directory, the others play their shares.

Started by ``torchrun --nproc-per-node N -m zerosum train ...``; each process does the same command. The other
ranks build what rank 0 tells them to build and play a turn whenever it does, so that a run is begun, resumed,
steered and ended in one place. They see the same files: recipes and data are read by each rank.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

import torch

from zerosum import recipe as recipes
from zerosum.game import Game, Turn
from zerosum.game.parallel import RankLost, Ranks, current, join, leave
from zerosum.recipe import Recipe
from zerosum.recipe.files import validated
from zerosum.run import runtime
from zerosum.run.log import RunError

__all__ = ["played", "several", "stopped", "together", "world"]

END, BUILD, TURN, WHOLE = range(4)


def played(game: Game, recipe: Recipe, source: Any, steps: int) -> Iterator[Turn]:
    """`Game.play`, with all ranks where there are others. Raises RankLost when one is gone."""
    ranks = current()
    if ranks is None:
        yield from game.play(source, steps)
        return
    ranks.order(BUILD)
    ranks.from_first(asdict(recipe))
    if recipe.shard:
        yield from _sharded(game, recipe, source, steps, ranks)
        return
    ranks.share(game)
    turns = game.play(source, steps)
    for _ in range(steps):
        ranks.order(TURN)
        yield next(turns)


def _sharded(game: Any, recipe: Recipe, source: Any, steps: int, ranks: Ranks) -> Iterator[Turn]:
    """The turns of a sharded game, which the given one follows: see `zerosum.game.sharded`."""
    sharded = _sharding()

    def fetch() -> dict[str, Any]:
        try:
            ranks.order(WHOLE)
            return sharded.gathered(played)
        except RankLost as error:  # whoever looks is not in a turn
            raise RunError(str(error)) from error

    played, _ = recipes.build(recipe, source, world=ranks.world)
    played.load_state_dict(game.state_dict())
    ranks.share(played)
    sharded.shard(played, ranks)
    turns = played.play(source, steps)
    for _ in range(steps):
        ranks.order(TURN)
        turn = next(turns)
        game.follow(played.step, fetch)
        yield turn


def _sharding() -> Any:
    """The module, which takes time to import."""
    from zerosum.game import sharded

    return sharded


def world() -> int:
    """How many processes play the games of this one."""
    ranks = current()
    return 1 if ranks is None else ranks.world


def stopped() -> bool:
    """Whether any rank was asked to end."""
    ranks = current()
    return ranks is not None and ranks.stop


def several() -> bool:
    """Whether torchrun has started other processes beside this one."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def together(lead: Callable[[], int]) -> int:
    """The exit code of this process: that of `lead` where it is rank 0 or alone, otherwise of `follow`.

    Raises RunError where another rank is lost; the checkpoints before that are good.
    """
    ranks = join()
    if ranks is None:
        return lead()
    try:
        if ranks.rank > 0:
            return follow(ranks)
        with leading(ranks):
            return lead()
    except RankLost as error:
        raise RunError(f"rank {ranks.rank} ends: {error}") from error
    finally:  # a process that ends with its group still joined may be aborted by the group's threads
        leave(failed=sys.exc_info()[0] is not None)


@contextmanager
def leading(ranks: Ranks) -> Iterator[None]:
    """Within, rank 0 plays games by `played`; after, all ranks end."""
    try:
        yield
    finally:
        with suppress(RankLost):
            ranks.order(END)


def follow(ranks: Ranks) -> int:
    """Do as rank 0 orders, until it ends: the exit code. SIGTERM or SIGINT here ends the run there, saved."""

    def stop(number: int, _: object) -> None:
        ranks.stop = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    runtime.keep_memory()
    game: Any = None
    turns: Iterator[Turn] = iter(())
    while (order := ranks.obey()) != END:
        if order == BUILD:
            game, source = _built(ranks)
            turns = game.play(source, 2**62)
        elif order == WHOLE:
            _sharding().gathered(game)
        else:
            next(turns)
    return 128 + signal.SIGTERM if ranks.stop else 0


def _built(ranks: Ranks) -> tuple[Game, Any]:
    """This rank's game of the recipe that rank 0 plays, in the state that it has there."""
    recipe = validated(ranks.from_first(None))
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    game, source = recipes.build(recipe, rank=ranks.rank, world=ranks.world)
    ranks.share(game)
    if recipe.shard:
        _sharding().shard(game, ranks)
    return game, source
