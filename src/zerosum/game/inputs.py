"""Inputs: everything that a turn takes from outside, drawn, read and scheduled before the turn begins.

So the turn itself is a function of the players' state and of these: it can be replayed, stacked (ensembles),
split (accumulation, ranks) and compiled. A batch is one for all ranks and parts: its noise is drawn whole and
cut, its examples are the places of one order, so that w ranks of a parts play the same game for equal w a.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from zerosum.data.source import encoded, part
from zerosum.game.player import Player
from zerosum.optimizers import upcoming
from zerosum.randomness import key, stream

if TYPE_CHECKING:
    from zerosum.data import Source
    from zerosum.game.play import Game

__all__ = ["Inputs", "Part", "Step", "draw", "stack"]


class Part(NamedTuple):
    """A part of a minibatch: real examples (None where none are needed), conditions or None, noise."""

    real: Tensor | None
    y: Tensor | None
    z: Tensor


@dataclass(frozen=True)
class Step:
    """What one step of one player takes.

    strengths: of the penalties that are due, by name: weight x every. rates: settings that a schedule gives
    to the optimizer for this step.
    """

    parts: tuple[Part, ...]
    strengths: Mapping[str, float | Tensor]
    rates: Mapping[str, float]


@dataclass(frozen=True)
class Inputs:
    """What turn `step` takes: k steps of D, one of G, the decay of the average, and a seed for the layers
    that draw in each part of a batch.
    """

    step: int
    d: tuple[Step, ...]
    g: Step
    decay: float | None
    seeds: tuple[int, ...]


def draw(game: Game, source: Source) -> Inputs:
    """The inputs of the turn that the game would play next."""
    t, k = game.step, game.k
    first = game.rank * game.accumulate
    return Inputs(
        t,
        tuple(_step(game, game.D, source, i, t * k + i) for i in range(k)),
        _step(game, game.G, source, k, t),
        game.G.decay_at(t),
        tuple(key(game.seed, i, t, "layers") for i in range(first, first + game.accumulate)),
    )


def _step(game: Game, player: Player, source: Source, i: int, count: int) -> Step:
    """The i-th step of this turn; its player has taken `count` steps before."""
    name, purpose, ahead = ("D", "d_noise", i) if player is game.D else ("G", "g_noise", 0)
    if name == "D" or game.fresh_real:  # no batch serves twice
        examples = _examples(game, source, game.step * (game.k + game.fresh_real) + i)
    else:
        examples = [(None, None)] * game.accumulate
    parts = zip(examples, _noise(game, purpose, ahead), strict=True)
    return Step(
        tuple([Part(real, y, z) for (real, y), z in parts]),
        {p.name: p.strength(count) for p in game.penalties if p.of == name and p.due(count)},
        upcoming(player.optimizer, ahead),
    )


def _examples(game: Game, source: Source, step: int) -> list[tuple[Tensor, Tensor | None]]:
    """This rank's share of a minibatch of real examples, in parts, with their conditions."""
    x, y = part(source, step, game.batch, game.rank, game.world)
    reals = _cut(encoded(source, x.to(game.device)).to(game.dtype), game.accumulate)
    if not game.conditional:
        return [(real, None) for real in reals]
    if y is None:
        raise ValueError("a conditional game needs data with labels: this source has none")
    y = y.to(game.device, game.dtype) if y.is_floating_point() else y.to(game.device)
    return list(zip(reals, _cut(y, game.accumulate), strict=True))


def _noise(game: Game, purpose: str, i: int) -> Sequence[Tensor]:
    """This rank's share of a minibatch of noise for this purpose only, in parts."""
    generator = stream(game.seed, 0, game.step, purpose, i, device=game.device)
    z = game.prior((game.batch, *game.latent), generator, game.dtype)
    return _cut(_cut(z, game.world)[game.rank], game.accumulate)


def _cut(x: Tensor, parts: int) -> Sequence[Tensor]:
    return x.chunk(parts) if parts > 1 else (x,)


def stack(games: Sequence[Inputs], like: Tensor) -> Inputs:
    """The inputs of N games, each of one part, as one's: examples one after the other, strengths ``[N]``."""

    def joined(values: Sequence[Tensor | None]) -> Tensor | None:
        there = [x for x in values if x is not None]
        return torch.cat(there) if there else None

    def together(steps: Sequence[Step]) -> Step:
        reals, ys, zs = zip(*(step.parts[0] for step in steps), strict=True)
        names = steps[0].strengths
        strengths = {name: like.new_tensor([step.strengths[name] for step in steps]) for name in names}
        return Step((Part(joined(reals), joined(ys), torch.cat(zs)),), strengths, {})

    first = games[0]
    return replace(
        first,
        d=tuple(together(steps) for steps in zip(*(inputs.d for inputs in games), strict=True)),
        g=together([inputs.g for inputs in games]),
        seeds=tuple(inputs.seeds[0] for inputs in games),
    )
