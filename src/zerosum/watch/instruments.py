"""All the instruments by their names, and the sets of them that suit a game.

What they look at has a file each: `logits` (the turn's own), `held_out` (what D says of data it has not
seen), `players` (what they feel, how they move), `gap` (what either could gain), `samples` (what G makes).
"""

from __future__ import annotations

from collections.abc import Sized

from torch import Tensor

from zerosum.data import Density, GaussianMixture, Source
from zerosum.game import Game
from zerosum.randomness import stream
from zerosum.watch.gap import duality_gap
from zerosum.watch.held_out import divergence_bound, overfitting, referee
from zerosum.watch.instrument import Examples, Instrument
from zerosum.watch.logits import accuracy, is_logistic, losses, scores, value
from zerosum.watch.players import LARGEST, eigenvalues, gradients, motion, saturation, size
from zerosum.watch.samples import FEWEST, NEIGHBOURS, diversity, modes, output_range, sample_distance

__all__ = [
    "accuracy",
    "divergence_bound",
    "diversity",
    "duality_gap",
    "eigenvalues",
    "gradients",
    "losses",
    "modes",
    "motion",
    "output_range",
    "overfitting",
    "referee",
    "sample_distance",
    "saturation",
    "scores",
    "standard",
    "thorough",
    "value",
]


def standard(
    game: Game, source: Source, held: Examples | Tensor | None = None, checkpoint_every: int = 1_000
) -> list[Instrument]:
    """The instruments that suit this game and cost little, with clocks that keep them below 5 % of training.

    held: real examples that D never sees, ``[n, *shape]``, in a conditional game with what belongs to them. A
    density draws its own; a finite source without them goes without `divergence_bound` and `overfitting`.
    checkpoint_every: turns between two checkpoints, each of which `sample_distance` judges.
    """
    objective = game.objective
    real, held = _examples(game, source, held)
    watch = [losses(game), scores(game), accuracy(game), gradients(source), motion(game)]
    if is_logistic(objective):
        watch += [value(game), saturation(game, source)]
    if held is not None:
        watch.append(overfitting(game, source, held))
        watch += [divergence_bound(game, held)] if objective.divergence is not None else []
    if isinstance(source, GaussianMixture):
        watch.append(modes(source, real))
    watch += [diversity(real)] if len(real) > NEIGHBOURS else []
    watch += [sample_distance(real, every=checkpoint_every)] if len(real) >= FEWEST else []
    return [*watch, output_range(real)]


def thorough(game: Game, source: Source, held: Examples | Tensor | None = None) -> list[Instrument]:
    """What `standard` leaves out for its cost, seconds a reading: `referee`, `duality_gap`, `eigenvalues`."""
    real, held = _examples(game, source, held)
    watch = [eigenvalues(game, real)] if size(game) <= LARGEST // 4 else []
    if held is not None:
        watch += [referee(held)] if len(held) >= 100 else []
        watch += [duality_gap(game, source, held)] if game.objective.divergence is not None else []
    return watch


def _examples(
    game: Game, source: Source, held: Examples | Tensor | None, n: int = 4096
) -> tuple[Examples, Examples | None]:
    """Real examples to compare with, held-out if there are any; and the held-out ones."""
    if held is None and isinstance(source, Density):
        held = source.sample(n, stream(game.seed, "instruments", "held"))
    if held is not None:
        held = Examples.of(held)
        if game.conditional and held.y is None:
            raise ValueError("a conditional game is looked at with labelled examples: give Examples(x, y)")
        return held, held
    return Examples(*source.batch(0, min(n, len(source)) if isinstance(source, Sized) else n)), None
