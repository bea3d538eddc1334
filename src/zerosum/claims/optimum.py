"""The best discriminator, what the game is worth with it, and the equilibrium: claims of the seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from zerosum import game, objectives, theory
from zerosum.claims.estimates import exactly, largest, mean, squared_norm
from zerosum.claims.experiments import (
    MEAN,
    MOMENTS,
    STEPS,
    WIDTHS,
    Best,
    Curve,
    Draws,
    equal,
    fixed_match,
    logits_of_halfway,
    training,
    undecided,
    watch,
    watched_at_the_best,
    watched_match,
)
from zerosum.claims.row import Claim, Numbers, Row, claim
from zerosum.theory import NormalPrior, Quantity, UniformPrior, pushforward

__all__ = ["ROWS"]

# The optimal D --------------------------------------------------------------------------------------------


@claim(
    "optimal D",
    r"at $D^* = p_\text{data}/(p_\text{data} + p_g)$ the gradient of $V$ in $D$ is zero: its square",
)
def nothing_beats_the_optimum(seed: int) -> Numbers:
    """the game's D steps at D*, as a player with a scale, a tilt and a shift"""
    match = fixed_match(seed)
    elsewhere = watch(match.G, undecided(match.halfway), objectives.minimax(), match.p, seed)
    return (
        exactly(0.0),
        squared_norm(watched_at_the_best(seed).d),
        {"at $D = 1/2$": squared_norm(elsewhere.d).value},
    )


def error_falls_with_steps(seed: int) -> Row:
    errors = [fixed_match(seed).sup_error(WIDTHS[-1], steps) for steps in STEPS]
    return Row(
        "optimal D",
        r"a trained $D$ approaches $D^*$: $\sup |D - D^*|$ falls from "
        f"{STEPS[0]} to {STEPS[1]} to {STEPS[2]} steps",
        exactly(1.0),
        _largest_ratio(errors),
        f"larger ratio of successive errors, width {WIDTHS[-1]}: {_list(errors)}",
        relation="<",
    )


def error_falls_with_capacity(seed: int) -> Row:
    errors = [fixed_match(seed).sup_error(width, STEPS[-1]) for width in WIDTHS]
    return Row(
        "optimal D",
        f"and falls from width {WIDTHS[0]} to {WIDTHS[1]} to {WIDTHS[2]}",
        exactly(1.0),
        _largest_ratio(errors),
        f"larger ratio of successive errors, {STEPS[-1]} steps: {_list(errors)}",
        relation="<",
    )


def _largest_ratio(errors: Sequence[Quantity]) -> Quantity:
    pairs = list(pairwise(errors))
    ratio = max(after.value / before.value for before, after in pairs)
    error = max((a.error + b.error) / b.value for b, a in pairs)
    return Quantity(ratio, error, errors[0].method)


def _list(errors: Sequence[Quantity]) -> str:
    return ", ".join(f"{error.value:.3f}" for error in errors)


# The value at D* ------------------------------------------------------------------------------------------


@claim("value at D*", r"$\max_D V = -\log 4 + 2\,\text{JSD}(p_\text{data}, p_g)$")
def value_at_the_optimum(seed: int) -> Numbers:
    """quadrature; minus the mean d_loss of turns that D* judges"""
    match = fixed_match(seed)
    jsd = theory.jsd(match.p, match.q)
    return (
        Quantity(-math.log(4) + 2 * jsd.value, 2 * jsd.error, jsd.method),
        mean(-watched_at_the_best(seed).d_losses),
        {
            r"$\log 4 + 2\,\text{JSD}$": math.log(4) + 2 * jsd.value,
            r"$-\log 4 + \text{JSD}$": -math.log(4) + jsd.value,
        },
    )


@claim(
    "value at D*",
    r"$V(D^*) - V(D) = 2 E_m[\text{KL}(D^* \| D)]$, $m = (p_\text{data} + p_g)/2$: what a trained $D$ lacks",
)
def what_a_trained_d_lacks(seed: int) -> Numbers:
    """quadrature; difference of the two d_losses on the same minibatches"""
    match, logits = fixed_match(seed), logits_of_halfway(seed)

    def divergence(x: Tensor, best: Tensor) -> Tensor:
        real = torch.sigmoid(best) * (logsigmoid(best) - logsigmoid(logits(x)))
        return real + torch.sigmoid(-best) * (logsigmoid(-best) - logsigmoid(-logits(x)))

    lack = theory.quadrature(divergence, divergence, match.p, match.q)
    return (
        lack,
        mean(watched_match(seed).d_losses - watched_at_the_best(seed).d_losses),
        {r"$E_m[\text{KL}]$": lack.value / 2},
    )


@claim("value at D*", "no trained $D$ has a greater $V$: the greatest of nine", relation="<")
def no_trained_d_is_better(seed: int) -> Numbers:
    """quadrature of V at D*; of V at each D trained by the game"""
    match = fixed_match(seed)
    values = [theory.value(D, match.p, match.q) for D in match.D.values()]
    return theory.value(theory.optimal_logit(match.p, match.q), match.p, match.q), max(values, key=float), {}


@claim("value at D*", f"$V(D^*) - V(D)$ after {STEPS[-1]} steps is below that after {STEPS[0]}", relation="<")
def the_gap_shrinks(seed: int) -> Numbers:
    """quadrature of V at D* and at the trained D"""
    match = fixed_match(seed)
    first, last = (
        theory.value(match.D[WIDTHS[-1], steps], match.p, match.q) for steps in (STEPS[0], STEPS[-1])
    )
    best = theory.value(theory.optimal_logit(match.p, match.q), match.p, match.q)
    return _difference(best, first), _difference(best, last), {}


def _difference(a: Quantity, b: Quantity) -> Quantity:
    return Quantity(a.value - b.value, a.error + b.error, a.method)


@claim("value at D*", r"JSD is at most $\log 2$, for disjoint supports, where $\max_D V = 0$")
def disjoint_supports(seed: int) -> Numbers:
    """minus the mean d_loss of turns that D* judges: p_data and p_g uniform, 10 apart"""
    G, prior = Curve(shift=10.0, scale=1.0), UniformPrior(1)
    best = Best(prior, pushforward(G, prior))
    turns = watch(G, best, objectives.minimax(), Draws(prior, seed), seed, turns=10, prior=game.uniform)
    return exactly(0.0), mean(-turns.d_losses), {r"$-\log 4$": -math.log(4), r"$\log 4$": math.log(4)}


# The equilibrium ------------------------------------------------------------------------------------------


@claim("equilibrium", r"$D^* = 1/2$ everywhere when $p_g = p_\text{data}$: largest $|D^* - 1/2|$")
def undecided_everywhere(seed: int) -> Numbers:
    """p_g by change of variables of a generator that has the data's law"""
    x = torch.linspace(-2, 3, 501, dtype=torch.float64)[:, None]

    def differences(mean: float) -> Tensor:
        p, G = equal(seed, mean)
        return theory.optimal_discriminator(p, pushforward(G, NormalPrior(1)))(x) - 0.5

    return (
        exactly(0.0),
        largest(differences(MEAN)),
        {"data moved by 0.1": float(differences(MEAN + 0.1).abs().max())},
    )


@claim("equilibrium", r"$V = -\log 4$, and $L_D = \log 4$")
def value_at_equilibrium(seed: int) -> Numbers:
    """minus the mean d_loss of turns that D* judges, where p_g = p_data"""
    p, G = equal(seed)
    turns = watch(G, Best(p, pushforward(G, NormalPrior(1))), objectives.minimax(), p, seed, turns=20)
    return exactly(-math.log(4)), mean(-turns.d_losses), {r"$V = \log 4$": math.log(4), "$V = 0$": 0.0}


@claim("equilibrium", r"non-saturating $L_G = \log 2$")
def generator_loss_at_equilibrium(seed: int) -> Numbers:
    """mean g_loss of turns that D* judges, where p_g = p_data"""
    p, G = equal(seed)
    turns = watch(
        G, Best(p, pushforward(G, NormalPrior(1))), objectives.nonsaturating(), p, seed, turns=20
    ).turns
    return (
        exactly(math.log(2)),
        mean(torch.stack([turn.g_loss for turn in turns])),
        {r"$-\log 2$": -math.log(2), r"$\log 4$": math.log(4)},
    )


def training_approaches_it(seed: int) -> Row:
    jsd = training(seed).jsd
    first, last = (jsd[step] for step in (min(jsd), max(jsd)))
    return Row(
        "equilibrium",
        r"training approaches it: $\log 4 - L_D(D^*) = 2\,\text{JSD}$ after "
        f"{max(jsd):,} turns, below that at the start",
        Quantity(2 * first.value, 2 * first.error, first.method),
        Quantity(2 * last.value, 2 * last.error, last.method),
        "quadrature, p_g by change of variables of the trained generator, before and after",
        relation="<",
    )


def trained_generator(seed: int) -> Row:
    t, step = training(seed), MOMENTS[2]
    jsd, best = t.jsd[step], Best(t.p, t.densities[step])
    judged = watch(t.generators[step], best, objectives.minimax(), Draws(t.p, seed), seed)
    return Row(
        "equilibrium",
        rf"on the way, $L_D(D^*) = \log 4 - 2\,\text{{JSD}}$: after {step} turns",
        Quantity(math.log(4) - 2 * jsd.value, 2 * jsd.error, jsd.method),
        mean(judged.d_losses),
        "quadrature, p_g by change of variables; mean d_loss of turns that D* judges",
        {r"$\log 4$": math.log(4), r"$\log 4 - \text{JSD}$": math.log(4) - jsd.value},
    )


def from_below(seed: int) -> Row:
    t = training(seed)
    values = [theory.value(theory.optimal_logit(t.p, q), t.p, q) for q in t.densities.values()]
    least = min(values, key=float)
    return Row(
        "equilibrium",
        r"and $L_D(D^*)$ comes to $\log 4$ from below: its greatest value on the way",
        exactly(math.log(4)),
        Quantity(-least.value, least.error, least.method),
        f"minus V at D* by quadrature, after {', '.join(map(str, MOMENTS))} turns",
        relation="<",
    )


ROWS: tuple[Claim, ...] = (
    nothing_beats_the_optimum, error_falls_with_steps, error_falls_with_capacity, value_at_the_optimum,
    what_a_trained_d_lacks, no_trained_d_is_better, the_gap_shrinks, disjoint_supports,
    undecided_everywhere, value_at_equilibrium, generator_loss_at_equilibrium, training_approaches_it,
    trained_generator, from_below,
)  # fmt: skip
