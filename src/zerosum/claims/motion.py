"""How the players move: the updates, the fixed point, Dirac-GAN; claims of the seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from zerosum import game, objectives, theory
from zerosum.claims.estimates import ROUNDING, along, exactly, expectation, largest, squared_norm
from zerosum.claims.experiments import (
    DIRAC_RATE,
    MEAN,
    RATE,
    Origin,
    Point,
    Slope,
    Still,
    Watched,
    dirac_path,
    dirac_theory,
    equal,
    first_turns,
    fixed_match,
    flat,
    undecided,
    watch,
    watched_match,
)
from zerosum.claims.losses import nonsaturating_slope, weighted_gradient
from zerosum.claims.row import Claim, Numbers, Row, claim
from zerosum.objectives import Objective
from zerosum.randomness import stream
from zerosum.theory import NormalPrior, Quantity

__all__ = ["ROWS"]

# The updates ----------------------------------------------------------------------------------------------


@claim(
    "updates", r"$\theta_d \leftarrow \theta_d + \eta_d \nabla V$: $D$'s step over $\eta_d$, along $\nabla V$"
)
def discriminator_ascends(seed: int) -> Numbers:
    """norm of E_x[(1 - D) da] - E_z[D(G(z)) da] by the trapezoid rule; one SGD step of many games"""
    match = fixed_match(seed)
    D = match.halfway

    def real(x: Tensor) -> Tensor:
        return torch.sigmoid(-D(x)).detach() * D(x)

    def fake(z: Tensor) -> Tensor:
        logits = D(match.G(z).detach())
        return torch.sigmoid(logits).detach() * logits

    rise = expectation(real, match.p) - expectation(fake, NormalPrior(1))
    slope = torch.cat([g.flatten() for g in torch.autograd.grad(rise, list(D.parameters()))])
    return (
        exactly(float(slope.norm())),
        along(first_turns(seed)[0] / RATE, slope),
        {"$D$ descends": -float(slope.norm()), "half of $V$": float(slope.norm()) / 2},
    )


@claim(
    "updates",
    r"$\theta_g \leftarrow \theta_g - \eta_g \nabla L_G$: $G$'s step over $\eta_g$, along $-\nabla L_G$",
)
def generator_descends(seed: int) -> Numbers:
    """norm of grad L_G by the trapezoid rule over z; one SGD step of many games"""
    match = fixed_match(seed)
    slope = weighted_gradient(match.G, match.halfway, nonsaturating_slope)
    moves = torch.stack([flat(G) for G in first_turns(seed)[1]]) - flat(match.G)
    return exactly(float(slope.norm())), along(moves / RATE, -slope), {"$G$ ascends": -float(slope.norm())}


def order_of_steps(seed: int) -> Row:
    k, turns, moves = 3, 20, list[str]()
    match = fixed_match(seed)
    heard = (partial(Still, name="G", moves=moves), partial(Still, name="D", moves=moves))
    watch(match.G, match.halfway, objectives.minimax(), match.p, seed, turns, k=k, optimizers=heard)
    whole = sum("".join(turn) == "D" * k + "G" for turn in _parts(moves, k + 1))
    return Row(
        "updates",
        f"$k$ steps of $D$, then one of $G$: turns of the form {'D' * k}G, of {turns}",
        exactly(turns),
        Quantity(whole, 0.0, "count"),
        f"the players' steps as they happen, k = {k}",
        {"none": 0.0},
    )


def _parts(moves: list[str], n: int) -> Iterator[list[str]]:
    return (moves[i : i + n] for i in range(0, len(moves), n))


def fresh_noise(seed: int) -> Row:
    k, turns, drawn = 3, 20, list[Tensor]()

    def prior(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        drawn.append(game.normal(shape, generator, dtype))
        return drawn[-1]

    match = fixed_match(seed)
    watch(match.G, match.halfway, objectives.nonsaturating(), match.p, seed, turns, k=k, prior=prior)
    z = torch.cat(drawn)
    repeated = z.numel() - z.unique().numel()
    return Row(
        "updates",
        "every $D$ step and the $G$ step have minibatches of noise of their own: latents used twice",
        exactly(0.0),
        Quantity(repeated, 0.0, "count"),
        f"all {z.numel():,} latents of {turns} turns, k = {k}",
        {"$G$ reuses $D$'s last minibatch": float(turns * 1024)},
    )


# The fixed point ------------------------------------------------------------------------------------------


def _equal_and_undecided(seed: int, objective: Objective, mean: float = MEAN) -> Watched:
    """p_g = p_data (or moved data), and a D that says 1/2 everywhere."""
    p, G = equal(seed, mean)
    return watch(G, undecided(fixed_match(seed).halfway), objective, p, seed)


@claim("fixed point", r"where $p_g = p_\text{data}$ and $D = 1/2$, $D$ has no gradient: its square")
def discriminator_rests(seed: int) -> Numbers:
    """the game's D steps, by products of independent minibatch gradients"""
    moved = _equal_and_undecided(seed, objectives.minimax(), MEAN + 0.5)
    return (
        exactly(0.0),
        squared_norm(_equal_and_undecided(seed, objectives.minimax()).d),
        {"data moved by 0.5": squared_norm(moved.d).value},
    )


@claim("fixed point", "nor has $G$, under the minimax and the non-saturating loss alike: largest component")
def generator_rests(seed: int) -> Numbers:
    """the game's G steps under both losses"""
    both = [_equal_and_undecided(seed, f()).g for f in (objectives.minimax, objectives.nonsaturating)]
    elsewhere = watched_match(seed).g
    return exactly(0.0), largest(torch.cat(both)), {"against a trained $D$": float(elsewhere.abs().max())}


def _velocity(objective: Objective, theta: float, psi: float) -> Tensor:
    """Where the game's players want to go in Dirac-GAN: minus their gradients, [2]."""
    seen = watch(Point(theta), Slope(psi), objective, Origin(), 0, turns=1, batch=1)
    return -torch.cat([seen.g[0], seen.d[0]])


def _jacobian(objective: Objective, theta: float, psi: float, h: float = 1e-4) -> Tensor:
    """By central differences of the game's gradients; they err by order h^2."""
    columns = [
        (_velocity(objective, theta + a, psi + b) - _velocity(objective, theta - a, psi - b)) / (2 * h)
        for a, b in ((h, 0.0), (0.0, h))
    ]
    return torch.stack(columns, 1)


@claim("fixed point", "both losses have one Jacobian at the equilibrium of Dirac-GAN: largest difference")
def one_fixed_point(seed: int) -> Numbers:
    """the game's gradients near theta = psi = 0"""

    def difference(theta: float, psi: float) -> Tensor:
        J, K = (_jacobian(f(), theta, psi) for f in (objectives.minimax, objectives.nonsaturating))
        return (J - K).abs().max()

    return (
        exactly(0.0),
        Quantity(float(difference(0.0, 0.0)), 1e-8, "central differences"),
        {"at (1, 1), off the equilibrium": float(difference(1.0, 1.0))},
    )


@claim("fixed point", r"its eigenvalues are $\pm i/2$, a rotation: their imaginary part")
def rotation(seed: int) -> Numbers:
    """theory's field; the game's gradients near theta = psi = 0"""
    origin = torch.zeros(2, dtype=torch.float64)
    predicted = theory.eigenvalues(theory.dirac_minimax, origin).imag.max()
    measured = torch.linalg.eigvals(_jacobian(objectives.minimax(), 0.0, 0.0))
    return (
        exactly(float(predicted)),
        Quantity(float(measured.imag.max()), 1e-8, "central differences"),
        {r"Wasserstein's, $\pm i$": 1.0},
    )


# Dirac-GAN ------------------------------------------------------------------------------------------------


def _predicted_rate(weight: float, at_once: bool) -> float:
    field, play = dirac_theory(weight, at_once)
    return theory.predicted_rate(field, torch.zeros(2, dtype=torch.float64), DIRAC_RATE, play)


def dirac_rate(weight: float, at_once: bool) -> Callable[[int], Row]:
    """The row of the linear rate of Dirac-GAN, with R1 of this weight, both players at once or in turn."""

    def row(seed: int) -> Row:
        angle = 2 * math.pi * float(torch.rand(1, generator=stream(seed, "angle")))
        start = (1e-6 * math.cos(angle), 1e-6 * math.sin(angle))  # so near that the game is linear
        name = f"R1 of weight {weight:g}" if weight else "no penalty"
        end = "converges" if weight else "does not converge"
        other = 0.0 if weight else 0.3
        return Row(
            "Dirac-GAN",
            f"{name}, {'both at once' if at_once else 'D first, then G'}: {end}, factor per turn",
            exactly(_predicted_rate(weight, at_once)),
            theory.measured_rate(dirac_path(start, 400, weight, at_once)),
            "spectral radius of one update; slope of the log distance in the game's path",
            {f"with R1 of weight {other:g}" if other else "with no penalty": _predicted_rate(other, at_once)},
        )

    return row


def dirac_follows_theory(weight: float) -> Callable[[int], Row]:
    """The row of the game's path laid over theory's."""

    def row(seed: int) -> Row:
        turns, start = 500, torch.ones(2, dtype=torch.float64)
        field, play = dirac_theory(weight, at_once=False)
        path = dirac_path((1.0, 1.0), turns, weight)
        other = theory.trajectory(field, start, DIRAC_RATE, turns, theory.simultaneous)
        return Row(
            "Dirac-GAN",
            f"{f'R1 of weight {weight:g}' if weight else 'no penalty'}: the game walks theory's path, "
            "largest distance",
            exactly(0.0),
            largest(path - theory.trajectory(field, start, DIRAC_RATE, turns, play)),
            f"{turns} turns from (1, 1) at rate {DIRAC_RATE}, D first",
            {"both at once": float((path - other).abs().max())},
        )

    return row


@claim(
    "Dirac-GAN", "no penalty, both at once: after 500 turns it is farther away than it began", relation=">"
)
def dirac_stays_away(seed: int) -> Numbers:
    """distance of the game's path from the equilibrium, from (1, 1)"""
    distance = dirac_path((1.0, 1.0), 500, at_once=True).norm(dim=1)
    return exactly(float(distance[0])), Quantity(float(distance[-1]), ROUNDING, "one path"), {}


@claim(
    "Dirac-GAN", "R1 of weight 0.3: after 500 turns it is a thousand times nearer than it began", relation="<"
)
def dirac_arrives(seed: int) -> Numbers:
    """distance of the game's path from the equilibrium, from (1, 1)"""
    distance = dirac_path((1.0, 1.0), 500, weight=0.3).norm(dim=1)
    return exactly(float(distance[0]) / 1000), Quantity(float(distance[-1]), ROUNDING, "one path"), {}


ROWS: tuple[Claim, ...] = (
    discriminator_ascends, generator_descends, order_of_steps, fresh_noise, discriminator_rests,
    generator_rests, one_fixed_point, rotation, *(dirac_rate(weight, at_once) for weight in (0.0, 0.3,
    1.0) for at_once in (True, False)), dirac_follows_theory(0.0), dirac_follows_theory(0.3),
    dirac_stays_away, dirac_arrives,
)  # fmt: skip
