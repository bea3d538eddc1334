"""Every claim of the design's table, a function of the seed each: predicted by theory, measured on a game."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import logsigmoid

from zerosum import data, game, objectives, theory
from zerosum.claims.experiments import (
    DIRAC_RATE,
    MOMENTS,
    RATE,
    STEPS,
    WIDTHS,
    Best,
    Curve,
    Draws,
    Origin,
    Point,
    Slope,
    Still,
    Watched,
    dirac_path,
    dirac_theory,
    first_turns,
    fixed_match,
    flat,
    rejected_fakes,
    training,
    undecided,
    watch,
    watched_at_the_best,
    watched_match,
)
from zerosum.claims.row import ROUNDING, Row, along, exactly, expectation, largest, mean, squared_norm
from zerosum.objectives import Objective
from zerosum.randomness import stream
from zerosum.theory import NormalPrior, Quantity, UniformPrior, pushforward

__all__ = ["ROWS", "logit_gradient", "rows"]

# The value ------------------------------------------------------------------------------------------------


def value_of_a_game(seed: int) -> Row:
    match = fixed_match(seed)
    V = theory.value(match.halfway, match.p, match.q)
    return Row(
        "value",
        "V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))] is what the game's turns average",
        V,
        mean(-watched_match(seed).d_losses),
        "quadrature over p_data and p_g; minus the mean d_loss of turns between players that stand still",
        {"-V": -V.value},
    )


def value_by_sampling(seed: int) -> Row:
    match = fixed_match(seed)
    V = theory.value(match.halfway, match.p, match.q)
    sampled = theory.value(
        match.halfway, match.p, match.q, lambda f, g, p, q: theory.monte_carlo(f, g, p, q, seed=seed)
    )
    return Row(
        "value",
        "V by quadrature is V by Monte Carlo",
        V,
        sampled,
        "quadrature over p_data and p_g; draws of both",
        {"-V": -V.value},
    )


def real_term(seed: int) -> Row:
    match, D = fixed_match(seed), logits_of_halfway(seed)
    logits = torch.stack([turn.real_logits for turn in watched_match(seed).turns])
    return Row(
        "value",
        "the real term is E_x[log D(x)], x from the data",
        exactly(float(expectation(lambda x: logsigmoid(D(x)), match.p))),
        mean(logsigmoid(logits).mean(1)),
        "trapezoid rule over p_data; mean of log D over the real logits of the turns",
        {"E_z[log D(z)]": float(expectation(lambda z: logsigmoid(D(z)), NormalPrior(1)))},
    )


def fake_term(seed: int) -> Row:
    match, D = fixed_match(seed), logits_of_halfway(seed)

    def log_rejection(z: Tensor) -> Tensor:
        return logsigmoid(-D(match.G(z)))

    logits = torch.stack([turn.fake_logits for turn in watched_match(seed).turns])
    return Row(
        "value",
        "the fake term is E_z[log(1 - D(G(z)))], z from the prior p_z",
        exactly(float(expectation(log_rejection, NormalPrior(1)))),
        mean(logsigmoid(-logits).mean(1)),
        "trapezoid rule over p_z; mean of log(1 - D) over the fake logits of the turns",
        {"z from p_data": float(expectation(log_rejection, match.p))},
    )


def logits_of_halfway(seed: int) -> Callable[[Tensor], Tensor]:
    """The half-trained D, without a graph."""
    return torch.no_grad()(fixed_match(seed).halfway)


# The loss of D --------------------------------------------------------------------------------------------


def loss_is_minus_the_value(seed: int) -> Row:
    turns = watched_match(seed).turns
    V = torch.stack(
        [t.real_logits.sigmoid().log().mean() + (1 - t.fake_logits.sigmoid()).log().mean() for t in turns]
    )
    losses = watched_match(seed).d_losses
    return Row(
        "D loss",
        "L_D = -V on every minibatch",
        exactly(0.0),
        largest(losses + V),
        "largest |L_D + V|, with log and sigmoid written out on the logits of each turn",
        {"L_D = V": float((losses - V).abs().max())},
    )


def half_form(seed: int) -> Row:
    match = fixed_match(seed)
    V = theory.value(match.halfway, match.p, match.q)
    halved = watch(match.G, match.halfway, objectives.nonsaturating(d_weight=0.5), match.p, seed)
    return Row(
        "D loss",
        "d_weight = 0.5 is the form that halves it: -V/2",
        Quantity(-V.value / 2, V.error / 2, V.method),
        mean(halved.d_losses),
        "quadrature; mean d_loss of a game with nonsaturating(d_weight=0.5)",
        {"-V": -V.value},
    )


def loss_is_cross_entropy(seed: int) -> Row:
    real, fake = _logits(seed)
    loss, ones, zeros = objectives.minimax().d(real, fake), torch.ones_like(real), torch.zeros_like(fake)

    def difference(real_label: Tensor, fake_label: Tensor) -> Tensor:
        labelled = [(real, real_label), (fake, fake_label)]
        return loss - sum(cross_entropy(a, y, reduction="none") for a, y in labelled)

    return Row(
        "D loss",
        "per example it is BCEWithLogits, label 1 for real and 0 for fake",
        exactly(0.0),
        largest(difference(ones, zeros)),
        "largest difference from torch's cross entropy, over the turns' logits",
        {"labels swapped": float(difference(zeros, ones).abs().max())},
    )


def _logits(seed: int) -> tuple[Tensor, Tensor]:
    """All real and all fake logits of the watched turns: [n], [n]."""
    turns = watched_match(seed).turns
    return torch.cat([t.real_logits for t in turns]), torch.cat([t.fake_logits for t in turns])


# The two losses of G --------------------------------------------------------------------------------------


def logit_gradient(objective: Objective, logits: Tensor) -> Tensor:
    """d L_G / d a of each fake, by autograd: [n] -> [n]."""
    a = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.g(None, a).sum(), a)
    return gradient


def _weighted_gradient(G: nn.Module, D: nn.Module, weight: Callable[[Tensor], Tensor]) -> Tensor:
    """E_z[weight(a) d a(G(z)) / d theta_g], [P], by the trapezoid rule over z."""

    def integrand(z: Tensor) -> Tensor:
        logits = D(G(z))
        return weight(logits.detach()) * logits

    gradients = torch.autograd.grad(expectation(integrand, NormalPrior(1)), list(G.parameters()))
    return torch.cat([g.flatten() for g in gradients])


def minimax_slope(a: Tensor) -> Tensor:
    """-D(G(z)): what the minimax loss of G has for a gradient in the logit."""
    return -torch.sigmoid(a)


def nonsaturating_slope(a: Tensor) -> Tensor:
    """-(1 - D(G(z))): the same of the non-saturating loss."""
    return -torch.sigmoid(-a)


def minimax_in_the_logit(seed: int) -> Row:
    a = rejected_fakes(seed).logits
    gradient = logit_gradient(objectives.minimax(), a)
    return Row(
        "minimax G loss",
        "L_G = E_z[log(1 - D(G(z)))] has the gradient -D(G(z)) in the logit",
        exactly(0.0),
        largest(gradient - minimax_slope(a)),
        "largest difference of autograd from it, on the fakes of a real game",
        {"-(1 - D)": float((gradient - nonsaturating_slope(a)).abs().max())},
    )


def nonsaturating_in_the_logit(seed: int) -> Row:
    a = rejected_fakes(seed).logits
    gradient = logit_gradient(objectives.nonsaturating(), a)
    return Row(
        "non-saturating G loss",
        "L_G = -E_z[log D(G(z))] has the gradient -(1 - D(G(z))) in the logit",
        exactly(0.0),
        largest(gradient - nonsaturating_slope(a)),
        "largest difference of autograd from it, on the fakes of a real game",
        {"-D": float((gradient - minimax_slope(a)).abs().max())},
    )


def minimax_in_the_weights(seed: int) -> Row:
    start = rejected_fakes(seed)
    right, other = (_weighted_gradient(start.G, start.D, f) for f in (minimax_slope, nonsaturating_slope))
    return Row(
        "minimax G loss",
        "so G moves by E_z[-D(G(z)) da/dtheta_g]: its norm",
        exactly(float(right.norm())),
        along(start.minimax.g, right),
        "trapezoid rule over z; mean gradient of the game's G steps along that direction",
        {"weighted by -(1 - D)": float(other @ right / right.norm())},
    )


def nonsaturating_in_the_weights(seed: int) -> Row:
    start = rejected_fakes(seed)
    right, other = (_weighted_gradient(start.G, start.D, f) for f in (nonsaturating_slope, minimax_slope))
    return Row(
        "non-saturating G loss",
        "so G moves by E_z[-(1 - D(G(z))) da/dtheta_g]: its norm",
        exactly(float(right.norm())),
        along(start.nonsaturating.g, right),
        "trapezoid rule over z; mean gradient of the game's G steps along that direction",
        {"weighted by -D": float(other @ right / right.norm())},
    )


def fakes_labelled_real(seed: int) -> Row:
    fake = rejected_fakes(seed).logits
    loss = objectives.nonsaturating().g(None, fake)
    as_real = cross_entropy(fake, torch.ones_like(fake), reduction="none")
    as_fake = cross_entropy(fake, torch.zeros_like(fake), reduction="none")
    return Row(
        "non-saturating G loss",
        "it is the cross entropy of the fakes labelled real",
        exactly(0.0),
        largest(loss - as_real),
        "largest difference from torch's cross entropy, on the fakes of a real game",
        {"labelled fake": float((loss - as_fake).abs().max())},
    )


def ratio_of_gradients(seed: int) -> Row:
    a = rejected_fakes(seed).logits
    ratio = logit_gradient(objectives.nonsaturating(), a) / logit_gradient(objectives.minimax(), a)
    predicted = theory.gradient_ratio(a)
    return Row(
        "non-saturating G loss",
        "over the minimax gradient it is (1 - D)/D for each fake: mean log10",
        exactly(float(predicted.log10().mean())),
        Quantity(float(ratio.log10().mean()), ROUNDING, f"mean of {len(a):,} fakes"),
        "closed form and autograd, on the same fakes of a real game soon after its start",
        {"equal gradients": 0.0, "D/(1 - D)": -float(predicted.log10().mean())},
    )


def minimax_vanishes(seed: int) -> Row:
    start = rejected_fakes(seed)
    small, large = (_weighted_gradient(start.G, start.D, f) for f in (minimax_slope, nonsaturating_slope))
    minimax, other = along(start.minimax.g, small), along(start.nonsaturating.g, large)
    quotient = minimax.value / other.value
    error = abs(quotient) * (minimax.error / abs(minimax.value) + other.error / abs(other.value))
    rejected = f"{float(start.logits.sigmoid().mean()):.2g}"
    return Row(
        "non-saturating G loss",
        "where D rejects the fakes the minimax gradient of G's weights vanishes, this one does not: quotient",
        exactly(float(small.norm() / large.norm())),
        Quantity(quotient, error, minimax.method),
        f"trapezoid rule over z; the game's G steps under both losses, where the mean D(G(z)) is {rejected}",
        {"equal norms": 1.0},
    )


def log_d_is_maximised(seed: int) -> Row:
    match = fixed_match(seed)
    moved = first_turns(seed)[1]
    gain = torch.stack([_log_d(G, match.halfway) for G in moved]) - _log_d(match.G, match.halfway)
    return Row(
        "non-saturating G loss",
        "G's step raises E_z[log D(G(z))], which it maximises",
        exactly(0.0),
        mean(gain),
        "change by one G step of SGD, by the trapezoid rule over z, in each of many games",
        relation=">",
    )


@torch.no_grad()
def _log_d(G: nn.Module, D: nn.Module) -> Tensor:
    return expectation(lambda z: logsigmoid(D(G(z))), NormalPrior(1))


# The optimal D --------------------------------------------------------------------------------------------


def nothing_beats_the_optimum(seed: int) -> Row:
    match = fixed_match(seed)
    elsewhere = watch(match.G, undecided(match.halfway), objectives.minimax(), match.p, seed)
    return Row(
        "optimal D",
        "at D* = p_data/(p_data + p_g) the gradient of V in D is zero: its square",
        exactly(0.0),
        squared_norm(watched_at_the_best(seed).d),
        "the game's D steps at D*, as a player with a scale, a tilt and a shift",
        {"at D = 1/2": squared_norm(elsewhere.d).value},
    )


def error_falls_with_steps(seed: int) -> Row:
    errors = [fixed_match(seed).sup_error(WIDTHS[-1], steps) for steps in STEPS]
    return Row(
        "optimal D",
        f"a trained D approaches D*: sup |D - D*| falls from {STEPS[0]} to {STEPS[1]} to {STEPS[2]} steps",
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


def value_at_the_optimum(seed: int) -> Row:
    match = fixed_match(seed)
    jsd = theory.jsd(match.p, match.q)
    return Row(
        "value at D*",
        "max_D V = -log 4 + 2 JSD(p_data, p_g)",
        Quantity(-math.log(4) + 2 * jsd.value, 2 * jsd.error, jsd.method),
        mean(-watched_at_the_best(seed).d_losses),
        "quadrature; minus the mean d_loss of turns that D* judges",
        {"log 4 + 2 JSD": math.log(4) + 2 * jsd.value, "-log 4 + JSD": -math.log(4) + jsd.value},
    )


def what_a_trained_d_lacks(seed: int) -> Row:
    match, logits = fixed_match(seed), logits_of_halfway(seed)

    def divergence(x: Tensor, best: Tensor) -> Tensor:
        real = torch.sigmoid(best) * (logsigmoid(best) - logsigmoid(logits(x)))
        return real + torch.sigmoid(-best) * (logsigmoid(-best) - logsigmoid(-logits(x)))

    lack = theory.quadrature(divergence, divergence, match.p, match.q)
    return Row(
        "value at D*",
        "V(D*) - V(D) = 2 E_m[KL(D* || D)], m = (p_data + p_g)/2: what a trained D lacks",
        lack,
        mean(watched_match(seed).d_losses - watched_at_the_best(seed).d_losses),
        "quadrature; difference of the two d_losses on the same minibatches",
        {"E_m[KL]": lack.value / 2},
    )


def no_trained_d_is_better(seed: int) -> Row:
    match = fixed_match(seed)
    values = [theory.value(D, match.p, match.q) for D in match.D.values()]
    return Row(
        "value at D*",
        "no trained D has a greater V: the greatest of nine",
        theory.value(theory.optimal_logit(match.p, match.q), match.p, match.q),
        max(values, key=float),
        "quadrature of V at D*; of V at each D trained by the game",
        relation="<",
    )


def the_gap_shrinks(seed: int) -> Row:
    match = fixed_match(seed)
    first, last = (
        theory.value(match.D[WIDTHS[-1], steps], match.p, match.q) for steps in (STEPS[0], STEPS[-1])
    )
    best = theory.value(theory.optimal_logit(match.p, match.q), match.p, match.q)
    return Row(
        "value at D*",
        f"V(D*) - V(D) after {STEPS[-1]} steps is below that after {STEPS[0]}",
        _difference(best, first),
        _difference(best, last),
        "quadrature of V at D* and at the trained D",
        relation="<",
    )


def _difference(a: Quantity, b: Quantity) -> Quantity:
    return Quantity(a.value - b.value, a.error + b.error, a.method)


def disjoint_supports(seed: int) -> Row:
    G, prior = Curve(shift=10.0, scale=1.0), UniformPrior(1)
    best = Best(prior, pushforward(G, prior))
    turns = watch(G, best, objectives.minimax(), Draws(prior, seed), seed, turns=10, prior=game.uniform)
    return Row(
        "value at D*",
        "JSD is at most log 2, for disjoint supports, where max_D V = 0",
        exactly(0.0),
        mean(-turns.d_losses),
        "minus the mean d_loss of turns that D* judges: p_data and p_g uniform, 10 apart",
        {"-log 4": -math.log(4), "log 4": math.log(4)},
    )


# The equilibrium ------------------------------------------------------------------------------------------

MEAN, STD = 0.5, 0.75


def _equal(seed: int, mean: float = MEAN) -> tuple[data.GaussianMixture, Curve]:
    """A Gaussian, and the generator that makes N(MEAN, STD^2) of the prior."""
    return data.gaussian(mean=mean, std=STD, seed=seed), Curve(MEAN, STD)


def undecided_everywhere(seed: int) -> Row:
    x = torch.linspace(-2, 3, 501, dtype=torch.float64)[:, None]

    def differences(mean: float) -> Tensor:
        p, G = _equal(seed, mean)
        return theory.optimal_discriminator(p, pushforward(G, NormalPrior(1)))(x) - 0.5

    return Row(
        "equilibrium",
        "D* = 1/2 everywhere when p_g = p_data: largest |D* - 1/2|",
        exactly(0.0),
        largest(differences(MEAN)),
        "p_g by change of variables of a generator that has the data's law",
        {"data moved by 0.1": float(differences(MEAN + 0.1).abs().max())},
    )


def value_at_equilibrium(seed: int) -> Row:
    p, G = _equal(seed)
    turns = watch(G, Best(p, pushforward(G, NormalPrior(1))), objectives.minimax(), p, seed, turns=20)
    return Row(
        "equilibrium",
        "V = -log 4, and L_D = log 4",
        exactly(-math.log(4)),
        mean(-turns.d_losses),
        "minus the mean d_loss of turns that D* judges, where p_g = p_data",
        {"V = log 4": math.log(4), "V = 0": 0.0},
    )


def generator_loss_at_equilibrium(seed: int) -> Row:
    p, G = _equal(seed)
    turns = watch(
        G, Best(p, pushforward(G, NormalPrior(1))), objectives.nonsaturating(), p, seed, turns=20
    ).turns
    return Row(
        "equilibrium",
        "non-saturating L_G = log 2",
        exactly(math.log(2)),
        mean(torch.stack([turn.g_loss for turn in turns])),
        "mean g_loss of turns that D* judges, where p_g = p_data",
        {"-log 2": -math.log(2), "log 4": math.log(4)},
    )


def training_approaches_it(seed: int) -> Row:
    jsd = training(seed).jsd
    first, last = (jsd[step] for step in (min(jsd), max(jsd)))
    return Row(
        "equilibrium",
        f"training approaches it: log 4 - L_D(D*) = 2 JSD after {max(jsd):,} turns, below that at the start",
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
        f"on the way, L_D(D*) = log 4 - 2 JSD: after {step} turns",
        Quantity(math.log(4) - 2 * jsd.value, 2 * jsd.error, jsd.method),
        mean(judged.d_losses),
        "quadrature, p_g by change of variables; mean d_loss of turns that D* judges",
        {"log 4": math.log(4), "log 4 - JSD": math.log(4) - jsd.value},
    )


def from_below(seed: int) -> Row:
    t = training(seed)
    values = [theory.value(theory.optimal_logit(t.p, q), t.p, q) for q in t.densities.values()]
    least = min(values, key=float)
    return Row(
        "equilibrium",
        "and L_D(D*) comes to log 4 from below: its greatest value on the way",
        exactly(math.log(4)),
        Quantity(-least.value, least.error, least.method),
        f"minus V at D* by quadrature, after {', '.join(map(str, MOMENTS))} turns",
        relation="<",
    )


# The updates ----------------------------------------------------------------------------------------------


def discriminator_ascends(seed: int) -> Row:
    match = fixed_match(seed)
    D = match.halfway

    def real(x: Tensor) -> Tensor:
        return torch.sigmoid(-D(x)).detach() * D(x)

    def fake(z: Tensor) -> Tensor:
        logits = D(match.G(z).detach())
        return torch.sigmoid(logits).detach() * logits

    rise = expectation(real, match.p) - expectation(fake, NormalPrior(1))
    slope = torch.cat([g.flatten() for g in torch.autograd.grad(rise, list(D.parameters()))])
    return Row(
        "updates",
        "theta_d <- theta_d + eta_d grad V: D's step over eta_d, along grad V",
        exactly(float(slope.norm())),
        along(first_turns(seed)[0] / RATE, slope),
        "norm of E_x[(1 - D) da] - E_z[D(G(z)) da] by the trapezoid rule; one SGD step of many games",
        {"D descends": -float(slope.norm()), "half of V": float(slope.norm()) / 2},
    )


def generator_descends(seed: int) -> Row:
    match = fixed_match(seed)
    slope = _weighted_gradient(match.G, match.halfway, nonsaturating_slope)
    moves = torch.stack([flat(G) for G in first_turns(seed)[1]]) - flat(match.G)
    return Row(
        "updates",
        "theta_g <- theta_g - eta_g grad L_G: G's step over eta_g, along -grad L_G",
        exactly(float(slope.norm())),
        along(moves / RATE, -slope),
        "norm of grad L_G by the trapezoid rule over z; one SGD step of many games",
        {"G ascends": -float(slope.norm())},
    )


def order_of_steps(seed: int) -> Row:
    k, turns, moves = 3, 20, list[str]()
    match = fixed_match(seed)
    heard = (partial(Still, name="G", moves=moves), partial(Still, name="D", moves=moves))
    watch(match.G, match.halfway, objectives.minimax(), match.p, seed, turns, k=k, optimizers=heard)
    whole = sum("".join(turn) == "D" * k + "G" for turn in _parts(moves, k + 1))
    return Row(
        "updates",
        f"k steps of D, then one of G: turns of the form {'D' * k}G, of {turns}",
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
        "every D step and the G step have minibatches of noise of their own: latents used twice",
        exactly(0.0),
        Quantity(repeated, 0.0, "count"),
        f"all {z.numel():,} latents of {turns} turns, k = {k}",
        {"G reuses D's last minibatch": float(turns * 1024)},
    )


# The fixed point ------------------------------------------------------------------------------------------


def _equal_and_undecided(seed: int, objective: Objective, mean: float = MEAN) -> Watched:
    """p_g = p_data (or moved data), and a D that says 1/2 everywhere."""
    p, G = _equal(seed, mean)
    return watch(G, undecided(fixed_match(seed).halfway), objective, p, seed)


def discriminator_rests(seed: int) -> Row:
    moved = _equal_and_undecided(seed, objectives.minimax(), MEAN + 0.5)
    return Row(
        "fixed point",
        "where p_g = p_data and D = 1/2, D has no gradient: its square",
        exactly(0.0),
        squared_norm(_equal_and_undecided(seed, objectives.minimax()).d),
        "the game's D steps, by products of independent minibatch gradients",
        {"data moved by 0.5": squared_norm(moved.d).value},
    )


def generator_rests(seed: int) -> Row:
    both = [_equal_and_undecided(seed, f()).g for f in (objectives.minimax, objectives.nonsaturating)]
    elsewhere = watched_match(seed).g
    return Row(
        "fixed point",
        "nor has G, under the minimax and the non-saturating loss alike: largest component",
        exactly(0.0),
        largest(torch.cat(both)),
        "the game's G steps under both losses",
        {"against a trained D": float(elsewhere.abs().max())},
    )


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


def one_fixed_point(seed: int) -> Row:
    def difference(theta: float, psi: float) -> Tensor:
        J, K = (_jacobian(f(), theta, psi) for f in (objectives.minimax, objectives.nonsaturating))
        return (J - K).abs().max()

    return Row(
        "fixed point",
        "both losses have one Jacobian at the equilibrium of Dirac-GAN: largest difference",
        exactly(0.0),
        Quantity(float(difference(0.0, 0.0)), 1e-8, "central differences"),
        "the game's gradients near theta = psi = 0",
        {"at (1, 1), off the equilibrium": float(difference(1.0, 1.0))},
    )


def rotation(seed: int) -> Row:
    origin = torch.zeros(2, dtype=torch.float64)
    predicted = theory.eigenvalues(theory.dirac_minimax, origin).imag.max()
    measured = torch.linalg.eigvals(_jacobian(objectives.minimax(), 0.0, 0.0))
    return Row(
        "fixed point",
        "its eigenvalues are +-i/2, a rotation: their imaginary part",
        exactly(float(predicted)),
        Quantity(float(measured.imag.max()), 1e-8, "central differences"),
        "theory's field; the game's gradients near theta = psi = 0",
        {"Wasserstein's, +-i": 1.0},
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


def dirac_stays_away(seed: int) -> Row:
    distance = dirac_path((1.0, 1.0), 500, at_once=True).norm(dim=1)
    return Row(
        "Dirac-GAN",
        "no penalty, both at once: after 500 turns it is farther away than it began",
        exactly(float(distance[0])),
        Quantity(float(distance[-1]), ROUNDING, "one path"),
        "distance of the game's path from the equilibrium, from (1, 1)",
        relation=">",
    )


def dirac_arrives(seed: int) -> Row:
    distance = dirac_path((1.0, 1.0), 500, weight=0.3).norm(dim=1)
    return Row(
        "Dirac-GAN",
        "R1 of weight 0.3: after 500 turns it is a thousand times nearer than it began",
        exactly(float(distance[0]) / 1000),
        Quantity(float(distance[-1]), ROUNDING, "one path"),
        "distance of the game's path from the equilibrium, from (1, 1)",
        relation="<",
    )


ROWS: tuple[Callable[[int], Row], ...] = (
    value_of_a_game,
    value_by_sampling,
    real_term,
    fake_term,
    loss_is_minus_the_value,
    half_form,
    loss_is_cross_entropy,
    minimax_in_the_logit,
    minimax_in_the_weights,
    nonsaturating_in_the_logit,
    nonsaturating_in_the_weights,
    fakes_labelled_real,
    ratio_of_gradients,
    minimax_vanishes,
    log_d_is_maximised,
    nothing_beats_the_optimum,
    error_falls_with_steps,
    error_falls_with_capacity,
    value_at_the_optimum,
    what_a_trained_d_lacks,
    no_trained_d_is_better,
    the_gap_shrinks,
    disjoint_supports,
    undecided_everywhere,
    value_at_equilibrium,
    generator_loss_at_equilibrium,
    training_approaches_it,
    trained_generator,
    from_below,
    discriminator_ascends,
    generator_descends,
    order_of_steps,
    fresh_noise,
    discriminator_rests,
    generator_rests,
    one_fixed_point,
    rotation,
    *(dirac_rate(weight, at_once) for weight in (0.0, 0.3, 1.0) for at_once in (True, False)),
    dirac_follows_theory(0.0),
    dirac_follows_theory(0.3),
    dirac_stays_away,
    dirac_arrives,
)


def rows(seed: int = 0) -> Iterator[Row]:
    """Every row of `ROWS`, in order, as it is measured: some twenty seconds of one core in all."""
    return (row(seed) for row in ROWS)
