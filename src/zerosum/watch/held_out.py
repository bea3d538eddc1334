"""What D says of data that it has not seen, and what a fresh classifier proves with them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zerosum import metrics
from zerosum.data import Source
from zerosum.game import Game, Turn
from zerosum.metrics.estimate import normal
from zerosum.watch.instrument import (
    Examples,
    Instrument,
    Scale,
    Value,
    answers,
    copies,
    fake_logits,
    mean,
    noise,
    on_device,
)
from zerosum.watch.logits import accuracies, boundary_of, declared_divergence, sign
from zerosum.watch.samples import of_samples, plain

__all__ = ["divergence_bound", "overfitting", "referee"]


def divergence_bound(game: Game, held: Examples | Tensor, n: int = 512, every: int = 400) -> Instrument:
    """`divergence_bound`: what the playing D proves of the distance between p_data and p_g, on held-out data.

        divergence(L_D),  for the game of 2014  (log 4 - L_D)/2 <= JSD(p_data, p_g)

    The objective declares the divergence; any D gives a bound, a bad one a low or negative one. The interval
    is normal, over n pairs of examples. At its low end one error as grave as the most confident answer is
    added, so that errors too rare to be seen are counted; its high end speaks of the bound only. In a
    conditional game pairs share their y, and the divergence is that of the pairs (x, y).
    """
    declared_divergence(game.objective)
    held = Examples.of(held)
    count = min(n, len(held))

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        G, D = copies(game)
        new = held.some(game, turn.step, count)
        real = answers(game, D, new.x, new.y).double()
        fake = fake_logits(game, G, D, noise(game, turn.step, "divergence_bound", count), new.y)
        return {"divergence_bound": bound_of(game, real, fake)}

    gives = {"divergence_bound": Scale("divergence", 0.0)}
    source = "Goodfellow et al. 2014, theorem 1; Nowozin et al. 2016, equation 4"
    return Instrument("divergence_bound", function, every, gives, source)


def bound_of(game: Game, real: Tensor, fake: Tensor) -> Value:
    """The divergence that these logits prove, with its interval."""
    bound = declared_divergence(game.objective)
    each, most = game.objective.d(real, fake), torch.cat([real, fake]).abs().max()[None]
    worst = torch.cat([each, game.objective.d(-most, most)])
    return bound(float(each.mean())), bound(mean(worst)[2]), bound(mean(each)[1])


def overfitting(
    game: Game, source: Source, held: Examples | Tensor, n: int = 512, every: int = 200
) -> Instrument:
    """Whether D knows its training data by heart: logits on training data, on held-out data and on fakes.

        overfit_sign  = E[sign(a(x_train))]                                            (r_t; ADA: 0.6)
        overfit_ratio = (E[a(x_train)] - E[a(x_held)]) / (E[a(x_train)] - E[a(G(z))])  (r_v)

    r_v is 0 without overfitting and 1 when D takes held-out data for fakes; its interval is the delta
    method's, and a D that tells nothing apart has r_v = 0. Also `logit_train`, `logit_held`, `logit_fake`,
    and `accuracy_train`, `accuracy_held`: as `accuracy`, with these real examples.
    """
    held = Examples.of(held)
    boundary = boundary_of(game.objective)
    count = min(n, len(held))

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        G, D = copies(game)
        known = on_device(game, *source.batch(turn.step, count))
        new = held.some(game, turn.step, count)
        train, test = (answers(game, D, some.x, some.y).double() for some in (known, new))
        fake = fake_logits(game, G, D, noise(game, turn.step, "overfitting", count), new.y)
        at = boundary(train, fake)
        return {
            "overfit_sign": mean(sign(train - at)),
            "overfit_ratio": _ratio_of_means(train, test, fake),
            "logit_train": mean(train),
            "logit_held": mean(test),
            "logit_fake": mean(fake),
            "accuracy_train": accuracies("accuracy", boundary, train, fake)["accuracy"],
            "accuracy_held": accuracies("accuracy", lambda *_: at, test, fake)["accuracy"],
        }

    rest = game.objective.resting_logit
    gives = {"overfit_sign": Scale("share", 0.0), "overfit_ratio": Scale("ratio", 0.0)}
    gives |= {f"logit_{who}": Scale("logit", rest) for who in ("train", "held", "fake")}
    gives |= {f"accuracy_{who}": Scale("share", 0.5) for who in ("train", "held")}
    return Instrument("overfitting", function, every, gives, "Karras et al. 2020 (ADA), equation 1")


def _ratio_of_means(train: Tensor, held: Tensor, fake: Tensor) -> Value:
    """(mean train - mean held) / (mean train - mean fake), with the delta method's interval."""
    spread = float(train.mean() - fake.mean())
    if spread == 0:
        return 0.0
    r = float(train.mean() - held.mean()) / spread
    terms = ((1 - r) ** 2 * train.var(), held.var(), r**2 * fake.var())
    return r, *normal(r, math.sqrt(sum(float(v) for v in terms) / len(train)) / abs(spread))


def referee(held: Examples | Tensor, n: int = 2048, every: int = 2_000) -> Instrument:
    """`referee`: the lower bound of the JSD that a fresh classifier proves, trained on half of n examples of
    `held` and of as many fakes, scored on the other half (`metrics.referee`). Takes seconds.
    """
    held = Examples.of(held)
    real = plain(held.x[:n])
    if len(real) < 100:
        raise ValueError(
            f"the referee needs 100 held-out examples, not {len(real)}: hold out more, or leave it out"
        )

    def function(fake: Tensor) -> dict[str, Value]:
        proof = metrics.referee(real, plain(fake))
        return {"referee": (proof.value, proof.low, proof.high)}

    gives = {"referee": Scale("nats", 0.0)}
    reference = "Lopez-Paz and Oquab 2017; Goodfellow et al. 2014, theorem 1"
    return of_samples("referee", function, held, len(real), every, gives, reference, at_once=False)
