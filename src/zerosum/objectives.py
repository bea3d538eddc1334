"""The pair of losses that makes the game: what D minimises and what G minimises, on raw logits.

An objective sees nothing but logits. Both of its functions take ``(real_logits, fake_logits)``, each of
shape ``[N]``, and return one value per example, ``[N]``, unreduced; the game takes the mean. Real always
comes before fake. Everything is computed from logits by `softplus`, so that every value and gradient is
exact from logit -inf to inf; no epsilon stands inside a logarithm.

Write a(x) for the logit and D(x) = sigmoid(a(x)). Then

    log D = -softplus(-a),        log(1 - D) = -softplus(a).

Each constructor declares facts instead of having its name tested: the mean D loss at the equilibrium, how
logits become probabilities, which divergence the D loss bounds, and whether G's loss needs real logits. What
follows from the losses themselves (where D and G rest, whether G's gradient vanishes) an objective answers of
itself, yours too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import log

import torch
from torch import Tensor
from torch.nn.functional import relu
from torch.nn.functional import softplus as _softplus

__all__ = [
    "Objective",
    "f_divergence",
    "hinge",
    "least_squares",
    "minimax",
    "nonsaturating",
    "relativistic_average",
    "relativistic_pairing",
    "wasserstein",
]


# torch's softplus is the identity above 20, which is wrong by 2e-9; above 40 float64 cannot tell.
softplus = partial(_softplus, threshold=40)


@dataclass(frozen=True)
class Objective:
    """Two losses, and what they are worth.

    d: ``(real_logits [N], fake_logits [N]) -> [N]``, minimised by D.
    g: ``(real_logits [N] or None, fake_logits [N]) -> [N]``, minimised by G; real is None unless
    `needs_real_logits`.
    equilibrium: the mean of d (nats, or the unit of d) when p_g = p_data and D is the best there is.
    probability: logits -> D(x), the probability that x is real; None for critics whose logits are no
    probability. Smoothed labels teach D to say (1 - s) times that.
    divergence: mean of d -> a lower bound of the divergence that the best D would measure; None where there
    is none.
    needs_real_logits: whether g needs the logits of real examples (relativistic objectives).
    name: for people.
    mixes_examples: whether a value depends on other examples of the batch than its own pair: then a batch in
    parts is passed once more, without gradients, so that each example is compared with all.

    >>> from torch.nn.functional import softplus
    >>> half = Objective(
    ...     d=lambda real, fake: (softplus(-real) + softplus(fake)) / 2,
    ...     g=lambda real, fake: -fake,
    ...     equilibrium=0.6931,
    ... )
    >>> round(float(half.d(torch.zeros(1), torch.zeros(1))), 4) == half.equilibrium
    True
    >>> half.resting_logit, half.resting_probability, half.saturates
    (0.0, 0.5, False)
    """

    d: Callable[[Tensor, Tensor], Tensor] = field(repr=False)
    g: Callable[[Tensor | None, Tensor], Tensor] = field(repr=False)
    equilibrium: float
    probability: Callable[[Tensor], Tensor] | None = field(default=torch.sigmoid, repr=False)
    divergence: Callable[[float], float] | None = field(default=None, repr=False)
    needs_real_logits: bool = False
    name: str = ""
    mixes_examples: bool = field(default=False, repr=False)

    @cached_property
    def resting_logit(self) -> float | None:
        """The logit a that the best D gives everywhere when p_g = p_data: where mean d(a, a) is least.

        None where many are as good, as for critics, which only compare.
        """
        low, high = -40.0, 40.0
        for _ in range(100):
            middle = (low + high) / 2
            slope = self._d_slope(middle)
            if slope == 0:
                break
            low, high = (low, middle) if slope > 0 else (middle, high)
        rest = (low + high) / 2
        return rest if self._d_slope(rest - 0.5) < -1e-9 and self._d_slope(rest + 0.5) > 1e-9 else None

    @cached_property
    def resting_g_loss(self) -> float | None:
        """The mean of g when p_g = p_data and D is the best there is; None where it depends on which one."""
        if self.resting_logit is not None:
            return self._g_at(self.resting_logit, self.resting_logit)[0]
        values = [self._g_at(a, a)[0] for a in (-3.0, 0.0, 3.0)]
        return values[1] if max(values) - min(values) < 1e-9 else None

    @cached_property
    def resting_probability(self) -> float | None:
        """D(x) when p_g = p_data and D is the best there is: 1/2, or what the labels make of it."""
        if self.probability is None or self.resting_logit is None:
            return None
        return float(self.probability(torch.tensor(self.resting_logit, dtype=torch.float64)))

    @cached_property
    def saturates(self) -> bool:
        """Whether dL_G/da vanishes where D rejects: at the logits 10, -10 under a tenth of that at 0, 0."""
        return abs(self._g_at(10.0, -10.0)[1]) < abs(self._g_at(0.0, 0.0)[1]) / 10

    def _d_slope(self, a: float) -> float:
        """The derivative of d(a, a)."""
        return _value_and_slope(lambda logits: self.d(logits, logits), a)[1]

    def _g_at(self, real: float, fake: float) -> tuple[float, float]:
        """g, and its derivative in the fake logit."""
        shown = torch.tensor([real], dtype=torch.float64) if self.needs_real_logits else None
        return _value_and_slope(lambda logits: self.g(shown, logits), fake)


def _value_and_slope(f: Callable[[Tensor], Tensor], a: float) -> tuple[float, float]:
    logits = torch.tensor([a], dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        value = f(logits).sum()
    (slope,) = torch.autograd.grad(value, logits, materialize_grads=True)
    return float(value.detach()), float(slope)


def minimax(label_smoothing: float = 0.0, d_weight: float = 1.0) -> Objective:
    """The game of Goodfellow et al. (2014), equation 1, as it stands: G descends what D ascends.

        L_D = -E_x[log D(x)] - E_z[log(1 - D(G(z)))] = -V(D, G)
        L_G =  E_z[log(1 - D(G(z)))]

    The gradient of L_G in the fake logit is -D(G(z)): it vanishes when D rejects the fakes. At the best D,
    L_D = log 4 - 2 JSD(p_data, p_g), so (log 4 - L_D) / 2 bounds the JSD from below (theorem 1).

    label_smoothing: s replaces the label 1 of real examples by 1 - s, one-sided (Salimans et al. 2016,
    section 3.4). The best D is then (1 - s) p_data/(p_data + p_g), and L_D bounds no divergence.
    d_weight: 1 for the sum form, 0.5 for the half form of the D loss.
    """
    return _logistic("minimax", lambda real, fake: -softplus(fake), label_smoothing, d_weight)


def nonsaturating(label_smoothing: float = 0.0, d_weight: float = 1.0) -> Objective:
    """The game with the generator loss that Goodfellow et al. (2014), section 3, train with.

        L_G = -E_z[log D(G(z))],  which is the cross-entropy of the fakes against the label of the real.

    Its gradient in the fake logit is -(1 - D(G(z))), the minimax gradient times (1 - D)/D: strong where D
    rejects the fakes. L_D and its arguments are those of `minimax`; both have the same fixed point.
    """
    return _logistic("nonsaturating", lambda real, fake: softplus(-fake), label_smoothing, d_weight)


def _logistic(
    name: str, g: Callable[[Tensor | None, Tensor], Tensor], smoothing: float, weight: float
) -> Objective:
    """The cross-entropy discriminator with the labels 1 - smoothing and 0, and any generator loss."""
    label = _real_label(smoothing)

    def d(real: Tensor, fake: Tensor) -> Tensor:
        against = smoothing * softplus(real) if smoothing else 0  # 0 times infinity is no number
        return weight * (label * softplus(-real) + against + softplus(fake))

    share = label / 2  # the best D at p_g = p_data says (1 - s)/2 everywhere
    entropy = -share * log(share) - (1 - share) * log(1 - share)
    divergence = None if smoothing else lambda loss: (log(4) - loss / weight) / 2
    return Objective(d, g, equilibrium=2 * weight * entropy, divergence=divergence, name=name)


def _real_label(smoothing: float) -> float:
    if not 0 <= smoothing < 1:
        raise ValueError(f"label_smoothing = {smoothing} is outside [0, 1): use 0.1, say, or 0 for none")
    return 1 - smoothing


def least_squares(label_smoothing: float = 0.0, d_weight: float = 1.0) -> Objective:
    """LSGAN with the targets -1, 1 and, for G, 0 (Mao et al. 2017, equation 8).

        L_D = E[(a(x) - 1)^2]/2 + E[(a(G(z)) + 1)^2]/2,        L_G = E[a(G(z))^2]/2

    The best logit is 2 D* - 1, and there L_D = 1 - T/2 with T = integral (p - q)^2/(p + q), the triangular
    discrimination; label_smoothing moves the target 1 to 1 - 2 s.
    """
    target = 2 * _real_label(label_smoothing) - 1
    return Objective(
        d=lambda real, fake: d_weight * ((real - target) ** 2 + (fake + 1) ** 2) / 2,
        g=lambda real, fake: fake**2 / 2,
        equilibrium=d_weight * (1 - label_smoothing) ** 2,
        probability=lambda logits: ((logits + 1) / 2).clamp(0, 1),
        divergence=None if label_smoothing else lambda loss: 2 * (1 - loss / d_weight),
        name="least_squares",
    )


def wasserstein(d_weight: float = 1.0) -> Objective:
    """WGAN (Arjovsky et al. 2017, equation 2): L_D = -E[a(x)] + E[a(G(z))], L_G = -E[a(G(z))].

    -L_D bounds W_1(p_data, p_g) from below only for a 1-Lipschitz critic, which no objective can promise
    (clip weights, or use `penalties.wgan_gp`); so no divergence is declared.
    """
    return Objective(
        d=lambda real, fake: d_weight * (fake - real),
        g=lambda real, fake: -fake,
        equilibrium=0.0,
        probability=None,
        name="wasserstein",
    )


def hinge(d_weight: float = 1.0) -> Objective:
    """The hinge game (Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17).

        L_D = E[max(0, 1 - a(x))] + E[max(0, 1 + a(G(z)))],        L_G = -E[a(G(z))]

    At the best critic L_D = 2 (1 - TV), so 1 - L_D/2 bounds the total variation from below.
    """
    return Objective(
        d=lambda real, fake: d_weight * (relu(1 - real) + relu(1 + fake)),
        g=lambda real, fake: -fake,
        equilibrium=2.0 * d_weight,
        probability=None,
        divergence=lambda loss: 1 - loss / d_weight / 2,
        name="hinge",
    )


def relativistic_pairing(d_weight: float = 1.0) -> Objective:
    """RpGAN (Jolicoeur-Martineau 2019), the objective of R3GAN (Huang et al. 2024, equation 2).

        L_D = E[softplus(-(a(x) - a(G(z))))],        L_G = E[softplus(-(a(G(z)) - a(x)))]

    D tells which of a pair is real. Swapping the pair shows that log 2 - L_D bounds JSD(p x q, q x p) from
    below; the best logit is log p/q.
    """
    return Objective(
        d=lambda real, fake: d_weight * softplus(fake - real),
        g=lambda real, fake: softplus(_required(real) - fake),
        equilibrium=d_weight * log(2),
        probability=None,
        divergence=lambda loss: log(2) - loss / d_weight,
        needs_real_logits=True,
        name="relativistic_pairing",
    )


def relativistic_average(d_weight: float = 1.0) -> Objective:
    """RaGAN (Jolicoeur-Martineau 2019, section 4.2): each example against the mean logit of the other side.

        L_D = E[softplus(-(a(x) - mean a(G(z))))] + E[softplus(a(G(z)) - mean a(x))]

    and L_G is the same with the sides changed. The means are those of the batch: its examples are compared.
    """

    def compare(ahead: Tensor, behind: Tensor) -> Tensor:
        return softplus(behind.mean() - ahead) + softplus(behind - ahead.mean())

    return Objective(
        d=lambda real, fake: d_weight * compare(real, fake),
        g=lambda real, fake: compare(fake, _required(real)),
        equilibrium=d_weight * log(4),
        probability=None,
        needs_real_logits=True,
        name="relativistic_average",
        mixes_examples=True,
    )


def _required(real: Tensor | None) -> Tensor:
    if real is None:
        raise ValueError("this objective compares fake with real logits: give its g the real logits too")
    return real


def f_divergence(f: str, saturating: bool = False, d_weight: float = 1.0) -> Objective:
    """f-GAN (Nowozin et al. 2016): D_f(P||Q) = max_T E_P[T] - E_Q[f*(T)], T = h(a), h an output activation.

        L_D = -E[h(a(x))] + E[f*(h(a(G(z))))],        L_G = -E[h(a(G(z)))]  (section 3.2), or
        L_G = -E[f*(h(a(G(z))))] if saturating (the true minimax form)

    So -L_D bounds D_f(p_data || p_g) from below. The activations are the paper's, shifted so that the logit
    0 is the optimum at p_g = p_data, where L_D = -f(1) = 0. For most, the best logit is a multiple of log
    p/q, which gives `probability`. jeffrey uses h(a) = f'(e^a) in place of the identity, which spares the
    Lambert W function of its f*.

    f: kl, reverse_kl, pearson, neyman, squared_hellinger, total_variation, jensen_shannon (the
    unnormalised form of the paper, 2 JSD) or jeffrey.
    """
    if f not in _F:
        raise ValueError(f"no f-divergence is called {f!r}: choose one of {', '.join(_F)}")
    h, conjugate, probability = _F[f]
    return Objective(
        d=lambda real, fake: d_weight * (conjugate(fake) - h(real)),
        g=(lambda real, fake: -conjugate(fake)) if saturating else (lambda real, fake: -h(fake)),
        equilibrium=0.0,
        probability=probability,
        divergence=lambda loss: -loss / d_weight,
        name=f"f_divergence, {f}",
    )


def _ratio(scale: float, logits: Tensor) -> Tensor:
    """D(x) when the logit is log(p/q) times `scale`."""
    return torch.sigmoid(logits / scale)


_Map = Callable[[Tensor], Tensor]

# name: (h(a), f*(h(a)), logits -> D(x)), with f in the comment; Nowozin et al. (2016), tables 1, 2 and 6
_F: dict[str, tuple[_Map, _Map, _Map | None]] = {
    "kl": (lambda a: 1 + a, lambda a: a.exp(), partial(_ratio, 1.0)),  # u log u
    "reverse_kl": (lambda a: -(-a).exp(), lambda a: a - 1, partial(_ratio, 1.0)),  # -log u
    "pearson": (  # (u - 1)^2
        lambda a: a,
        lambda a: a**2 / 4 + a,
        lambda a: (1 + a / 2).clamp(min=0) / (2 + a / 2).clamp(min=1),
    ),
    "neyman": (  # (1 - u)^2 / u
        lambda a: 1 - (-a).exp(),
        lambda a: 2 - 2 * (-a / 2).exp(),
        partial(_ratio, 2.0),
    ),
    "squared_hellinger": (  # (sqrt u - 1)^2
        lambda a: 1 - (-a).exp(),
        lambda a: a.exp() - 1,
        partial(_ratio, 0.5),
    ),
    "total_variation": (lambda a: a.tanh() / 2, lambda a: a.tanh() / 2, None),  # |u - 1| / 2
    "jensen_shannon": (  # -(u + 1) log((1 + u)/2) + u log u
        lambda a: log(2) - softplus(-a),
        lambda a: softplus(a) - log(2),
        partial(_ratio, 1.0),
    ),
    "jeffrey": (  # (u - 1) log u, and h(a) = f'(e^a)
        lambda a: a + 1 - (-a).exp(),
        lambda a: a.exp() - 1 + a,
        partial(_ratio, 1.0),
    ),
}
