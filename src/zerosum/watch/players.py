"""What the players feel and how they move: gradients, steps, the Jacobian of the game."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from zerosum.data import Source
from zerosum.game import Game, Player, Turn
from zerosum.objectives import softplus
from zerosum.watch.instrument import (
    Examples,
    Instrument,
    Scale,
    Value,
    asked,
    copies,
    flat,
    gradient,
    noise,
    norm,
    on_device,
    parts,
)
from zerosum.watch.logits import is_logistic

__all__ = ["eigenvalues", "gradients", "motion", "saturation"]


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "minimax": lambda logits: -softplus(logits),
    "nonsaturating": lambda logits: softplus(-logits),
}
"""The two losses of G of 2014, as functions of the fakes' logits."""


def saturation(game: Game, source: Source, n: int = 128, every: int = 200) -> Instrument:
    """How much of its gradient G loses to D's confidence; for objectives with D = sigmoid(logit).

    `g_gradient_minimax`, `g_gradient_nonsaturating`: the norms, in G's weights, of the gradients of mean
    log(1 - D(G(z))) and of mean -log D(G(z)). `saturation`: the second over the first, which is (1 - D)/D
    where the logits of all fakes are equal. `g_slope_minimax`, `g_slope_nonsaturating`: mean |dL/da|, that is
    mean D and mean 1 - D; `g_slope`: the same of G's actual loss. `gradients` has that loss's norm.
    """

    if not is_logistic(game.objective):
        raise ValueError(
            "saturation compares losses of D(x) = sigmoid(logit): read this game's gradients instead"
        )

    def function(game: Game, turn: Turn) -> Mapping[str, Value]:
        G, D = copies(game, training=True)
        real = on_device(game, *source.batch(turn.step, n))
        z, mine = noise(game, turn.step, "saturation", n), [p for p in G.parameters() if p.requires_grad]
        felt = dict.fromkeys(WAYS, torch.zeros((), dtype=game.dtype, device=game.device))
        slopes = dict.fromkeys(("", *WAYS), 0.0)
        for rows in parts(game, n):
            x, y = real.x[rows], None if real.y is None else real.y[rows]
            logits = asked(game, D, asked(game, G, z[rows], y), y)
            real_logits = asked(game, D, x, y) if game.objective.needs_real_logits else None
            actual = game.objective.g(real_logits, logits)
            for name, loss in {"": actual, **{way: f(logits) for way, f in WAYS.items()}}.items():
                slope = gradient(loss.mean(), [logits])[0] * (len(logits) / n)
                slopes[name] += float(slope.abs().sum())
                if name:
                    felt[name] = felt[name] + flat(gradient(logits, mine, grad_outputs=slope))
        minimax, other = (felt[name].norm() for name in WAYS)
        return {
            "g_gradient_minimax": float(minimax),
            "g_gradient_nonsaturating": float(other),
            "saturation": float(other / minimax),
        } | {f"g_slope{'_' * bool(name)}{name}": s for name, s in slopes.items()}

    d = game.objective.resting_probability or 0.5
    gives = {
        "g_gradient_minimax": Scale("loss per weight", 0.0),
        "g_gradient_nonsaturating": Scale("loss per weight", 0.0),
        "saturation": Scale("ratio", (1 - d) / d),
        "g_slope": Scale("loss per logit"),
        "g_slope_minimax": Scale("loss per logit", d),
        "g_slope_nonsaturating": Scale("loss per logit", 1 - d),
    }
    return Instrument("saturation", function, every, gives, "Goodfellow et al. 2014, section 3")


def gradients(source: Source, n: int = 128, every: int = 200) -> Instrument:
    """`d_gradient`, `g_gradient`: the norms of the gradients, each in its player's weights, of mean L_D plus
    the penalties at their mean strength, and of mean L_G. `d_gradient_share`, `g_gradient_share`: the same
    over the norm of the weights.

    Both vanish at the equilibrium but for sampling noise, and also where a player is dead.
    """

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        G, D = copies(game, training=True)
        real, z = on_device(game, *source.batch(turn.step, n)), noise(game, turn.step, "gradients", n)
        readings = dict[str, Value]()
        d, g = ([p for p in network.parameters() if p.requires_grad] for network in (D, G))
        for name, own, others, loss in (("d", d, g, d_loss), ("g", g, d, g_loss)):
            for p in others:
                p.requires_grad_(False)
            for p in own:
                p.requires_grad_()
            total = torch.zeros((), dtype=game.dtype, device=game.device)
            for rows in parts(game, n):
                some = Examples(real.x[rows], None if real.y is None else real.y[rows])
                slope = torch.autograd.grad(loss(game, G, D, some, z[rows]), own, materialize_grads=True)
                total = total + flat(slope) * (len(some) / n)
            weights = norm(own)
            readings |= {
                f"{name}_gradient": float(total.norm()),
                f"{name}_gradient_share": float(total.norm() / weights),
            }
        return readings

    gives = {f"{who}_gradient": Scale("loss per weight", 0.0) for who in "dg"}
    gives |= {f"{who}_gradient_share": Scale("loss per weight squared", 0.0) for who in "dg"}
    return Instrument("gradients", function, every, gives, "Goodfellow et al. 2014, algorithm 1")


def motion(game: Game, every: int = 200) -> Instrument:
    r"""How the players move, from their weights theta_t after three turns in a row.

        d_update, g_update              = |theta_t - theta_{t-1}|
        d_update_share, g_update_share  = |theta_t - theta_{t-1}| / |theta_t|     (about 1e-3 is usual)
        d_weights, g_weights            = |theta_t|
        rotation                        = cos of the angle between the last two joint moves of both players

    A cosine near 1 is a straight way, near -1 a zigzag; independent noise gives about 0, a slow rotation by
    an angle w a turn cos w. Under extragradient a move takes two turns, and the points midway do not count.
    Needs to be read at every turn: it keeps the weights of the turns it was shown last.
    """
    period = 2 if getattr(game.G.optimizer, "requires_simultaneous", False) else 1
    kept: deque[tuple[int, Tensor, Tensor]] = deque(maxlen=3)

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        if not getattr(game.G.optimizer, "at_extrapolation_point", False):
            kept.append((turn.step, _weights(game.D), _weights(game.G)))
        steps = [step for step, _, _ in kept]
        if len(steps) < 3 or steps[1] - steps[0] != period or steps[2] - steps[1] != period:
            return {}
        (_, *first), (_, *second), (_, *last) = kept
        before = [b - a for a, b in zip(first, second, strict=True)]
        now = [b - a for a, b in zip(second, last, strict=True)]
        found = {"rotation": torch.dot(torch.cat(before), torch.cat(now)) / (norm(before) * norm(now))}
        for name, move, weights in zip("dg", now, last, strict=True):
            size = weights.norm()
            found |= {f"{name}_update": move.norm(), f"{name}_update_share": move.norm() / size}
            found[f"{name}_weights"] = size
        return {name: float(x) for name, x in found.items()}

    gives = {"rotation": Scale("cosine")}
    gives |= {f"{who}_update": Scale("weights") for who in "dg"}
    gives |= {f"{who}_update_share": Scale("ratio") for who in "dg"}
    gives |= {f"{who}_weights": Scale("weights") for who in "dg"}
    return Instrument(
        "motion", function, every, gives, "Mescheder et al. 2017, section 3 (rotation)", turns=3 * period
    )


LARGEST = 2_000  # parameters of both players, for whose Jacobian there is time


def eigenvalues(game: Game, real: Examples | Tensor, n: int = 256, every: int = 5_000) -> Instrument:
    r"""The leading eigenvalue of the game's Jacobian: where a small deviation from here would go.

        v(theta_g, theta_d) = (-grad_{theta_g} L_G, -grad_{theta_d} (L_D + penalties)),    J = dv/dtheta

    `eigenvalue_real`, `eigenvalue_imaginary` (>= 0): the eigenvalue of J with the largest real part (of
    those, the largest imaginary part). Near an equilibrium the gradient flow contracts if the real part is
    negative, and turns fast if the imaginary part outweighs it. `eigenvalue_largest`: the largest modulus l;
    gradient steps above 2/l overshoot. The batch, n of `real` and as many z, is always the same. A penalty's
    points are taken as given, as in training: how they move with G is not part of J.

    For at most 2,000 parameters of both players together: J is dense.
    """
    if size(game) > LARGEST:
        raise ValueError(
            f"eigenvalues: {size(game)} parameters of both players, above {LARGEST}: leave them out"
        )

    some = Examples.of(real)

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        J = _jacobian(game, on_device(game, some.x[:n], None if some.y is None else some.y[:n]))
        if not J.isfinite().all():
            return dict.fromkeys(gives, math.nan)
        found = torch.linalg.eigvals(J.double())
        near = found.real > found.real.max() - 1e-6 * found.abs().max()
        return {
            "eigenvalue_real": float(found.real.max()),
            "eigenvalue_imaginary": float(found.imag[near].max()),
            "eigenvalue_largest": float(found.abs().max()),
        }

    scale = Scale("per unit of time")
    gives = {f"eigenvalue_{part}": scale for part in ("real", "imaginary", "largest")}
    return Instrument(
        "eigenvalues", function, every, gives, "Mescheder et al. 2017, section 3", at_once=False
    )


# The game as a function of both players ---------------------------------------------------------------------


def d_loss(game: Game, G: nn.Module, D: nn.Module, real: Examples, z: Tensor) -> Tensor:
    """Mean L_D plus the penalties of D at their mean strength."""
    fake, critic = asked(game, G, z, real.y), partial(asked, game, D, y=real.y)
    loss = game.objective.d(critic(real.x), critic(fake)).mean()
    at = (game.step - 1) * game.k
    penalties = [p for p in deepcopy(game.penalties) if p.of == "D"]  # some keep state
    return sum((p.term(critic, real.x, fake, at) / p.every for p in penalties), loss)


def g_loss(game: Game, G: nn.Module, D: nn.Module, real: Examples, z: Tensor) -> Tensor:
    """Mean L_G plus the penalties of G at their mean strength."""
    maker, critic = partial(asked, game, G), partial(asked, game, D, y=real.y)
    real_logits = critic(real.x) if game.objective.needs_real_logits else None
    fake = maker(z, real.y)
    loss = game.objective.g(real_logits, critic(fake)).mean()
    for p in (p for p in deepcopy(game.penalties) if p.of == "G"):
        each = p(critic, real.x, fake, G=maker, z=z, y=real.y)
        loss = loss + p.strength(game.step - 1) / p.every * each.mean()
    return loss


def size(game: Game) -> int:
    return sum(p.numel() for player in (game.G, game.D) for p in player.parameters)


def _jacobian(game: Game, real: Examples) -> Tensor:
    """dv/dtheta of the joint field at the players' weights, G's before D's: [m + n, m + n]."""
    G, D = copies(game)
    z = noise(game, 0, "eigenvalues", len(real))
    g, d = ([p for p in network.parameters() if p.requires_grad] for network in (G, D))
    g_part = gradient(g_loss(game, G, D, real, z), g, create_graph=True)
    d_part = gradient(d_loss(game, G, D, real, z), d, create_graph=True)
    v = -flat([*g_part, *d_part])
    rows = torch.eye(len(v), dtype=v.dtype, device=v.device).split(64)
    parts = [gradient(v, [*g, *d], grad_outputs=r, is_grads_batched=True, retain_graph=True) for r in rows]
    return torch.cat([torch.cat([x.flatten(1) for x in part], 1) for part in parts])


def _weights(player: Player) -> Tensor:
    return flat(player.parameters).detach()
