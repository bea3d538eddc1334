"""Losses that compare the examples of a batch which is played in parts, one after the other or by ranks.

With L of all logits a_1, ..., a_n of a batch, the gradient is the sum of dL/da_i grad a_i, and a part has the
terms of its own examples. So the parts are passed once without gradients, for their logits; then each is
played with its own logits in their places among those of the others, which are constants. No graph outlives
its part (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from zerosum.game.player import Critic
from zerosum.penalties import Penalty

if TYPE_CHECKING:
    from zerosum.game.draws import Draws
    from zerosum.game.inputs import Part
    from zerosum.game.play import Game

__all__ = ["Batch", "rehearse"]


class Batch(NamedTuple):
    """What a part is told of its whole batch: the logits ``[batch]``, in which places its own stand, how many
    parts there are, and the statistics that penalties asked for, by their names.
    """

    real_logits: Tensor | None
    fake_logits: Tensor
    places: Tensor
    parts: int
    statistics: dict[str, Tensor]

    def mean(self, loss: Callable[..., Tensor], real: Tensor | None, fake: Tensor) -> Tensor:
        """The mean of `loss` over the whole batch. Its gradient in this part's logits is taken `parts` times,
        since gradients are averaged over the parts.
        """
        alone, whole = (real, fake), (self.real_logits, self.fake_logits)
        sides = [
            None if own is None or others is None else others.index_copy(0, self.places, own)
            for own, others in zip(alone, whole, strict=True)
        ]
        mean = loss(*sides).mean()
        return mean.detach() + self.parts * (mean - mean.detach())


def rehearse(
    game: Game, parts: Sequence[Part], draws: Draws, due: Sequence[Penalty], logits: Callable[..., Any]
) -> list[Batch | None]:
    """What each of these parts is told of the batch; None where nothing compares more than a part has.

    logits: ``(real, y, z, due) -> real, fake, real logits, fake logits``, as the parts are played.
    """
    ranks, asking = game.ranks, [p for p in due if p.statistics is not None]
    rank, world = (0, 1) if ranks is None else (ranks.rank, ranks.world)
    if len(parts) * world == 1 or not (game.objective.mixes_examples or asking):
        return [None] * len(parts)
    seen: list[list[Tensor]] = []
    statistics: list[list[Tensor]] = []
    with torch.no_grad():
        for part in draws.rehearse(parts):
            real, fake, *both = logits(*part, due)
            critic = Critic(game.D, part.y, dict(zip((real, fake), both, strict=True)))
            seen.append([side for side in both if side is not None])
            statistics.append([p.statistics(critic, real, fake) for p in asking if p.statistics])
    sides = [torch.cat(side) for side in zip(*seen, strict=True)]
    means = [torch.stack(rows).mean(0) for rows in zip(*statistics, strict=True)]
    if ranks is not None:
        sides = [ranks.gathered(side).flatten() for side in sides]
        ranks.average_(means)
    n, first = len(sides[-1]) // (len(parts) * world), rank * len(parts)
    places = torch.arange(len(sides[-1]), device=game.device).split(n)[first : first + len(parts)]
    named = dict(zip([p.name for p in asking], means, strict=True))
    real_logits = sides[0] if len(sides) > 1 else None
    return [Batch(real_logits, sides[-1], own, len(parts) * world, named) for own in places]
