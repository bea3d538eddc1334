"""How far both players are from the best that they could do: the duality gap."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from zerosum.data import Source
from zerosum.game import Game, Turn
from zerosum.watch.instrument import (
    Examples,
    Instrument,
    Scale,
    Value,
    answers,
    asked,
    copies,
    fake_logits,
    mean,
    noise,
    on_device,
    parts,
)
from zerosum.watch.logits import declared_divergence

__all__ = ["duality_gap"]

FAR = 2**40  # where the batches begin that no game comes to


def duality_gap(
    game: Game,
    source: Source,
    held: Examples | Tensor,
    steps: int = 400,
    lr: float = 5e-3,
    n: int = 4096,
    every: int = 2_000,
) -> Instrument:
    r"""`duality_gap`: what either player could still gain against the other as it stands.

        M(G, D) = divergence(L_D),  for the game of 2014  E[log D(x)]/2 + E[log(1 - D(G(z)))]/2 + log 2
        DG      = max_{D'} M(G, D') - min_{G'} M(G', D)  >=  0

    `worst_case`: the first term, itself a lower bound of the divergence. `best_response`: the second; it is
    <= 0, as no D tells the data from themselves. So DG >= JSD(p_data, p_g) once D' is solved for, and DG = 0
    only at the equilibrium: it is large where G is bad, and also where G is good and D is sure of anything.

    D' is the best of D and of what `steps` steps of Adam (lr, falling to 0) make of a copy, in evaluation
    mode, on batches of the source. G' is the best of three answers: G itself, the data again, and the one
    example that D trusts most, again and again. No generator of such examples as the data have does better
    against a D that sees one at a time, and so nothing is searched for. (A G' that may leave the data goes
    where the logits grow without bound; a G' that descends from G finds nothing where D rejects all around.)

    Half of n examples of `held` choose D' and G', the other half gives the readings, and what is negative by
    chance is read as DG = 0. The intervals are normal and know nothing of how far the search went.
    """
    payoff, bound = game.objective.d, declared_divergence(game.objective)
    unit = abs(bound(1.0) - bound(0.0))
    held = Examples.of(held)
    count = min(n, len(held)) // 2

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        G, D = copies(game)
        real, z = held.some(game, turn.step, 2 * count), noise(game, turn.step, "gap", 2 * count)
        first, second = slice(0, count), slice(count, 2 * count)

        def said(judge: nn.Module, x: Tensor, half: slice) -> Tensor:
            return answers(game, judge, x, None if real.y is None else real.y[half]).double()

        def fakes(judge: nn.Module, half: slice) -> Tensor:
            return fake_logits(game, G, judge, z[half], None if real.y is None else real.y[half])

        def loss(judge: nn.Module, half: slice) -> Tensor:
            return payoff(said(judge, real.x[half], half), fakes(judge, half))

        def answered(half: slice) -> list[Tensor]:
            """L_D of the D that plays against G, the data again, and the example that D trusts most."""
            x = said(D, real.x[half], half)
            trusted = said(D, real.x[:count][best].expand_as(real.x[half]), half)
            return [payoff(x, fakes(D, half)), payoff(x, x.roll(1, 0)), payoff(x, trusted)]

        best = int(said(D, real.x[first], first).argmax())
        better_D = search(game, turn, G, D, lambda judge: float(loss(judge, first).mean()))
        means = [float(each.mean()) for each in answered(first)]
        worst, least = loss(better_D, second), answered(second)[means.index(max(means))]
        lost, less, more = mean(worst)
        gap, low, high = (max(unit * x, 0.0) for x in mean(least - worst))  # nan stays nan
        return {
            "duality_gap": (gap, low, high),
            "worst_case": (bound(lost), bound(more), bound(less)),
            "best_response": bound(float(least.mean())),
        }

    def search(
        game: Game, turn: Turn, G: nn.Module, D: nn.Module, loss: Callable[[nn.Module], float]
    ) -> nn.Module:
        rival, best, chosen = deepcopy(D), loss(D), D
        adam = torch.optim.Adam([p for p in rival.parameters() if p.requires_grad], lr, (0.5, 0.999))
        for i in range(steps):
            adam.param_groups[0]["lr"] = lr * (1 - i / steps)
            step = turn.step * steps + i
            real = on_device(game, *source.batch(FAR + step, game.batch))
            z = noise(game, step, "search", game.batch)
            adam.zero_grad()
            for rows in parts(game, game.batch):
                y = None if real.y is None else real.y[rows]
                with torch.no_grad():
                    fake = asked(game, G, z[rows], y)
                each = payoff(asked(game, rival, real.x[rows], y), asked(game, rival, fake, y))
                (each.mean() * (len(fake) / game.batch)).backward()
            adam.step()
            if (i + 1) % max(1, steps // 20) == 0 and (now := loss(rival)) < best:
                best, chosen = now, deepcopy(rival)
        return chosen

    gives = {name: Scale("divergence", 0.0) for name in ("duality_gap", "worst_case", "best_response")}
    return Instrument("duality_gap", function, every, gives, "Grnarova et al. 2019, section 3", at_once=False)
