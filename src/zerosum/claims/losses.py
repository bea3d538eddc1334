"""The value of the game and the losses of its players: each claim a function of the seed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import logsigmoid

from zerosum import objectives, theory
from zerosum.claims.estimates import ROUNDING, along, exactly, expectation, largest, mean
from zerosum.claims.experiments import (
    first_turns,
    fixed_match,
    logits_of_halfway,
    rejected_fakes,
    watch,
    watched_match,
)
from zerosum.claims.row import Claim, Numbers, Row, claim
from zerosum.objectives import Objective
from zerosum.theory import NormalPrior, Quantity

__all__ = ["ROWS"]

# The value ------------------------------------------------------------------------------------------------


@claim("value", r"$V(D, G) = E_x[\log D(x)] + E_z[\log(1 - D(G(z)))]$ is what the game's turns average")
def value_of_a_game(seed: int) -> Numbers:
    """quadrature over p_data and p_g; minus the mean d_loss of turns between players that stand still"""
    match = fixed_match(seed)
    V = theory.value(match.halfway, match.p, match.q)
    return V, mean(-watched_match(seed).d_losses), {"$-V$": -V.value}


@claim("value", "$V$ by quadrature is $V$ by Monte Carlo")
def value_by_sampling(seed: int) -> Numbers:
    """quadrature over p_data and p_g; draws of both"""
    match = fixed_match(seed)
    V = theory.value(match.halfway, match.p, match.q)
    sampled = theory.value(
        match.halfway, match.p, match.q, lambda f, g, p, q: theory.monte_carlo(f, g, p, q, seed=seed)
    )
    return V, sampled, {"$-V$": -V.value}


@claim("value", r"the real term is $E_x[\log D(x)]$, $x$ from the data")
def real_term(seed: int) -> Numbers:
    """trapezoid rule over p_data; mean of log D over the real logits of the turns"""
    match, D = fixed_match(seed), logits_of_halfway(seed)
    logits = torch.stack([turn.real_logits for turn in watched_match(seed).turns])
    return (
        exactly(float(expectation(lambda x: logsigmoid(D(x)), match.p))),
        mean(logsigmoid(logits).mean(1)),
        {r"$E_z[\log D(z)]$": float(expectation(lambda z: logsigmoid(D(z)), NormalPrior(1)))},
    )


@claim("value", r"the fake term is $E_z[\log(1 - D(G(z)))]$, $z$ from the prior $p_z$")
def fake_term(seed: int) -> Numbers:
    """trapezoid rule over p_z; mean of log(1 - D) over the fake logits of the turns"""
    match, D = fixed_match(seed), logits_of_halfway(seed)

    def log_rejection(z: Tensor) -> Tensor:
        return logsigmoid(-D(match.G(z)))

    logits = torch.stack([turn.fake_logits for turn in watched_match(seed).turns])
    return (
        exactly(float(expectation(log_rejection, NormalPrior(1)))),
        mean(logsigmoid(-logits).mean(1)),
        {r"$z$ from $p_\text{data}$": float(expectation(log_rejection, match.p))},
    )


# The loss of D --------------------------------------------------------------------------------------------


@claim("D loss", "$L_D = -V$ on every minibatch")
def loss_is_minus_the_value(seed: int) -> Numbers:
    """largest |L_D + V|, with log and sigmoid written out on the logits of each turn"""
    turns = watched_match(seed).turns
    V = torch.stack(
        [t.real_logits.sigmoid().log().mean() + (1 - t.fake_logits.sigmoid()).log().mean() for t in turns]
    )
    losses = watched_match(seed).d_losses
    return exactly(0.0), largest(losses + V), {"$L_D = V$": float((losses - V).abs().max())}


@claim("D loss", "d_weight = 0.5 is the form that halves it: $-V/2$")
def half_form(seed: int) -> Numbers:
    """quadrature; mean d_loss of a game with nonsaturating(d_weight=0.5)"""
    match = fixed_match(seed)
    V = theory.value(match.halfway, match.p, match.q)
    halved = watch(match.G, match.halfway, objectives.nonsaturating(d_weight=0.5), match.p, seed)
    return Quantity(-V.value / 2, V.error / 2, V.method), mean(halved.d_losses), {"$-V$": -V.value}


@claim("D loss", "per example it is BCEWithLogits, label 1 for real and 0 for fake")
def loss_is_cross_entropy(seed: int) -> Numbers:
    """largest difference from torch's cross entropy, over the turns' logits"""
    real, fake = _logits(seed)
    loss, ones, zeros = objectives.minimax().d(real, fake), torch.ones_like(real), torch.zeros_like(fake)

    def difference(real_label: Tensor, fake_label: Tensor) -> Tensor:
        labelled = [(real, real_label), (fake, fake_label)]
        return loss - sum(cross_entropy(a, y, reduction="none") for a, y in labelled)

    return (
        exactly(0.0),
        largest(difference(ones, zeros)),
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


def weighted_gradient(G: nn.Module, D: nn.Module, weight: Callable[[Tensor], Tensor]) -> Tensor:
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


@claim("minimax G loss", r"$L_G = E_z[\log(1 - D(G(z)))]$ has the gradient $-D(G(z))$ in the logit")
def minimax_in_the_logit(seed: int) -> Numbers:
    """largest difference of autograd from it, on the fakes of a real game"""
    a = rejected_fakes(seed).logits
    gradient = logit_gradient(objectives.minimax(), a)
    return (
        exactly(0.0),
        largest(gradient - minimax_slope(a)),
        {"$-(1 - D)$": float((gradient - nonsaturating_slope(a)).abs().max())},
    )


@claim("non-saturating G loss", r"$L_G = -E_z[\log D(G(z))]$ has the gradient $-(1 - D(G(z)))$ in the logit")
def nonsaturating_in_the_logit(seed: int) -> Numbers:
    """largest difference of autograd from it, on the fakes of a real game"""
    a = rejected_fakes(seed).logits
    gradient = logit_gradient(objectives.nonsaturating(), a)
    return (
        exactly(0.0),
        largest(gradient - nonsaturating_slope(a)),
        {"$-D$": float((gradient - minimax_slope(a)).abs().max())},
    )


@claim("minimax G loss", r"so $G$ moves by $E_z[-D(G(z))\,da/d\theta_g]$: its norm")
def minimax_in_the_weights(seed: int) -> Numbers:
    """trapezoid rule over z; mean gradient of the game's G steps along that direction"""
    start = rejected_fakes(seed)
    right, other = (weighted_gradient(start.G, start.D, f) for f in (minimax_slope, nonsaturating_slope))
    return (
        exactly(float(right.norm())),
        along(start.minimax.g, right),
        {"weighted by $-(1 - D)$": float(other @ right / right.norm())},
    )


@claim("non-saturating G loss", r"so $G$ moves by $E_z[-(1 - D(G(z)))\,da/d\theta_g]$: its norm")
def nonsaturating_in_the_weights(seed: int) -> Numbers:
    """trapezoid rule over z; mean gradient of the game's G steps along that direction"""
    start = rejected_fakes(seed)
    right, other = (weighted_gradient(start.G, start.D, f) for f in (nonsaturating_slope, minimax_slope))
    return (
        exactly(float(right.norm())),
        along(start.nonsaturating.g, right),
        {"weighted by $-D$": float(other @ right / right.norm())},
    )


@claim("non-saturating G loss", "it is the cross entropy of the fakes labelled real")
def fakes_labelled_real(seed: int) -> Numbers:
    """largest difference from torch's cross entropy, on the fakes of a real game"""
    fake = rejected_fakes(seed).logits
    loss = objectives.nonsaturating().g(None, fake)
    as_real = cross_entropy(fake, torch.ones_like(fake), reduction="none")
    as_fake = cross_entropy(fake, torch.zeros_like(fake), reduction="none")
    return exactly(0.0), largest(loss - as_real), {"labelled fake": float((loss - as_fake).abs().max())}


@claim("non-saturating G loss", "over the minimax gradient it is $(1 - D)/D$ for each fake: mean log10")
def ratio_of_gradients(seed: int) -> Numbers:
    """closed form and autograd, on the same fakes of a real game soon after its start"""
    a = rejected_fakes(seed).logits
    ratio = logit_gradient(objectives.nonsaturating(), a) / logit_gradient(objectives.minimax(), a)
    predicted = theory.gradient_ratio(a)
    return (
        exactly(float(predicted.log10().mean())),
        Quantity(float(ratio.log10().mean()), ROUNDING, f"mean of {len(a):,} fakes"),
        {"equal gradients": 0.0, "$D/(1 - D)$": -float(predicted.log10().mean())},
    )


def minimax_vanishes(seed: int) -> Row:
    start = rejected_fakes(seed)
    small, large = (weighted_gradient(start.G, start.D, f) for f in (minimax_slope, nonsaturating_slope))
    minimax, other = along(start.minimax.g, small), along(start.nonsaturating.g, large)
    quotient = minimax.value / other.value
    error = abs(quotient) * (minimax.error / abs(minimax.value) + other.error / abs(other.value))
    rejected = f"{float(start.logits.sigmoid().mean()):.2g}"
    return Row(
        "non-saturating G loss",
        "where $D$ rejects the fakes the minimax gradient of $G$'s weights vanishes, this one does not: "
        "quotient",
        exactly(float(small.norm() / large.norm())),
        Quantity(quotient, error, minimax.method),
        f"trapezoid rule over z; the game's G steps under both losses, where the mean D(G(z)) is {rejected}",
        {"equal norms": 1.0},
    )


@claim("non-saturating G loss", r"$G$'s step raises $E_z[\log D(G(z))]$, which it maximises", relation=">")
def log_d_is_maximised(seed: int) -> Numbers:
    """change by one G step of SGD, by the trapezoid rule over z, in each of many games"""
    match = fixed_match(seed)
    moved = first_turns(seed)[1]
    gain = torch.stack([_log_d(G, match.halfway) for G in moved]) - _log_d(match.G, match.halfway)
    return exactly(0.0), mean(gain), {}


@torch.no_grad()
def _log_d(G: nn.Module, D: nn.Module) -> Tensor:
    return expectation(lambda z: logsigmoid(D(G(z))), NormalPrior(1))


ROWS: tuple[Claim, ...] = (
    value_of_a_game, value_by_sampling, real_term, fake_term, loss_is_minus_the_value, half_form,
    loss_is_cross_entropy, minimax_in_the_logit, minimax_in_the_weights, nonsaturating_in_the_logit,
    nonsaturating_in_the_weights, fakes_labelled_real, ratio_of_gradients, minimax_vanishes,
    log_d_is_maximised,
)  # fmt: skip
