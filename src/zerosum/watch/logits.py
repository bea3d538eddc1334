"""What D says in a turn, from the turn's own logits: losses, scores, the value of the game, accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from zerosum.game import Game, Turn
from zerosum.objectives import Objective
from zerosum.watch.instrument import Instrument, Scale, Value, mean, share

__all__ = ["accuracy", "losses", "scores", "value"]


def losses(game: Game, every: int = 25) -> Instrument:
    """`d_loss`, `g_loss`: the means of the objective's two losses over the turn's minibatch; no penalties.

    At the equilibrium L_D is the objective's declared value (log 4 in the game of 2014), L_G its value where
    D is undecided (log 2, non-saturating).
    """

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        return {"d_loss": float(turn.d_loss), "g_loss": float(turn.g_loss)}

    objective = game.objective
    gives = {
        "d_loss": Scale("loss of D", objective.equilibrium),
        "g_loss": Scale("loss of G", objective.resting_g_loss),
    }
    return Instrument("losses", function, every, gives, "Goodfellow et al. 2014, algorithm 1")


def scores(game: Game, every: int = 25) -> Instrument:
    """`d_real`, `d_fake`: the means of D(x) and D(G(z)) over the turn's minibatch; `_q05`, `_q50`, `_q95`.

    At the equilibrium all are 1/2, or what the objective's labels make of it. Of a critic, which gives no
    probability, `real_logit` and `fake_logit` are read in their place; their equilibrium is not known.
    """
    critic = game.objective.probability is None
    sides = ("real_logit", "fake_logit") if critic else ("d_real", "d_fake")
    probability = game.objective.probability or (lambda logits: logits)
    quantiles = {"_q05": 0.05, "_q50": 0.5, "_q95": 0.95}

    def side(name: str, logits: Tensor) -> dict[str, Value]:
        d = probability(logits.double())
        q = torch.quantile(d, d.new_tensor([*quantiles.values()])).tolist()
        return {name: mean(d)} | {name + end: x for end, x in zip(quantiles, q, strict=True)}

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        return side(sides[0], turn.real_logits) | side(sides[1], turn.fake_logits)

    scale = Scale("logit") if critic else Scale("probability", game.objective.resting_probability)
    gives = {name + end: scale for name in sides for end in ("", *quantiles)}
    return Instrument("scores", function, every, gives, "Goodfellow et al. 2014, proposition 1")


def value(game: Game, every: int = 25) -> Instrument:
    """`value`: V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))] over the turn's minibatch; `value_distance`: V
    + log 4.

    For objectives whose D is the sigmoid of its logit. V = -log 4 at the equilibrium, and V <= -log 4 + 2 JSD
    for every D, on data that it was not fitted to.
    """
    if not is_logistic(game.objective):
        raise ValueError("V(D, G) needs D(x) = sigmoid(logit): this objective has no such D, read its losses")

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        v, low, high = mean(logsigmoid(turn.real_logits.double()) + logsigmoid(-turn.fake_logits.double()))
        return {
            "value": (v, low, high),
            "value_distance": (v + math.log(4), low + math.log(4), high + math.log(4)),
        }

    d = game.objective.resting_probability or 0.5  # 1/2, and V = -log 4, but for smoothed labels
    resting = math.log(d) + math.log(1 - d)
    gives = {"value": Scale("nats", resting), "value_distance": Scale("nats", resting + math.log(4))}
    return Instrument("value", function, every, gives, "Goodfellow et al. 2014, equation 1 and theorem 1")


def accuracy(game: Game, every: int = 25) -> Instrument:
    """`accuracy`: (P(D says real | x) + P(D says fake | G(z))) / 2 over the turn's minibatch; its two halves.

    D says real above the logit at which it rests when p_g = p_data (D(x) = 1/2, but for smoothed labels); for
    a critic, above the middle of its two means. A logit just there counts one half. The minibatch is new to
    D only if the source draws afresh: `overfitting` has the accuracy on held-out data.
    """
    boundary = boundary_of(game.objective)

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        return accuracies("accuracy", boundary, turn.real_logits, turn.fake_logits)

    half = Scale("share")  # of a D that says nothing, any half; the two make one
    gives = {"accuracy": Scale("share", 0.5), "accuracy_real": half, "accuracy_fake": half}
    return Instrument("accuracy", function, every, gives, "Goodfellow et al. 2014, section 4.1")


# The objective --------------------------------------------------------------------------------------------


def is_logistic(objective: Objective) -> bool:
    return objective.probability is torch.sigmoid


def declared_divergence(objective: Objective) -> Callable[[float], float]:
    if objective.divergence is None:
        raise ValueError(
            "this objective declares no divergence that its loss of D bounds: choose another one"
        )
    return objective.divergence


Boundary = Callable[[Tensor, Tensor], float]


def boundary_of(objective: Objective) -> Boundary:
    """(real_logits, fake_logits) -> the logit above which D says "real"."""
    at = objective.resting_logit if objective.probability is not None else None
    if at is None:
        return lambda real, fake: float(real.mean() + fake.mean()) / 2
    return lambda real, fake: at


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; nan of nan, which torch calls 0."""
    return torch.where(x.isnan(), x, x.sign())


def accuracies(name: str, boundary: Boundary, real: Tensor, fake: Tensor) -> dict[str, Value]:
    at = boundary(real, fake)
    right, wrong = (float((sign(x - at).double().mean() + 1) / 2) for x in (real, fake))
    return {
        name: share((right + 1 - wrong) / 2, len(real) + len(fake)),
        f"{name}_real": share(right, len(real)),
        f"{name}_fake": share(1 - wrong, len(fake)),
    }
