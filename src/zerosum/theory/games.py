r"""Games small enough to solve: Dirac-GAN and bilinear games, their fields, orbits and rates.

In the notation of Mescheder, Geiger and Nowozin (2018): the generator has parameters theta, the discriminator
psi, and they climb the field v(theta, psi) = (-grad_theta L, grad_psi L) with

.. math:: L(\theta, \psi) = E_z[f(D_\psi(G_\theta(z)))] + E_x[f(-D_\psi(x))], \qquad f(t) = -\log(1 + e^{-t}).

Their D is high on *fakes*: it is minus our logit, which turns psi into -psi and changes no orbit's length or
rate. Dirac-GAN has p_g = a point at theta, data = a point at 0, D(x) = psi x; its equilibrium is the origin.

A `Field` says where the players want to go, a `Play` how they move. The linear rate of any play is then the
spectral radius of one update's Jacobian at the equilibrium: below 1 it converges, above 1 it does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from zerosum.theory.densities import Quantity

__all__ = [
    "Field",
    "Play",
    "alternating",
    "bilinear",
    "clipped",
    "consensus",
    "dirac_instance_noise",
    "dirac_minimax",
    "dirac_nonsaturating",
    "dirac_wasserstein",
    "eigenvalues",
    "extragradient",
    "generator_gradients",
    "gradient_penalty",
    "gradient_ratio",
    "jacobian",
    "measured_rate",
    "optimistic",
    "predicted_rate",
    "simultaneous",
    "trajectory",
]

Velocity = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _unconstrained(psi: Tensor) -> Tensor:
    return psi


@dataclass(frozen=True)
class Field:
    """v(theta, psi) on points (theta, psi) of shape [..., m + n]; `project` returns psi to where it may be.

    >>> dirac_wasserstein(torch.tensor([2.0, 3.0]))
    tensor([-3.,  2.])
    """

    velocity: Velocity
    sizes: tuple[int, int] = (1, 1)
    project: Callable[[Tensor], Tensor] = _unconstrained

    def __call__(self, point: Tensor) -> Tensor:
        theta, psi = point.split(self.sizes, -1)
        return torch.cat(self.velocity(theta, psi), -1)

    def admissible(self, point: Tensor) -> Tensor:
        theta, psi = point.split(self.sizes, -1)
        return torch.cat([theta, self.project(psi)], -1)


# Fields ---------------------------------------------------------------------------------------------------


def _slope(t: Tensor) -> Tensor:
    return torch.sigmoid(-t)  # f'(t)


def _minimax(theta: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
    slope = _slope(psi * theta)
    return -psi * slope, theta * slope


def _nonsaturating(theta: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
    return -psi * _slope(-psi * theta), theta * _slope(psi * theta)


def _wasserstein(theta: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
    return -psi, theta


dirac_minimax = Field(_minimax)
"""v = (-psi f'(psi theta), theta f'(psi theta)) (Mescheder 2018, lemma 2.3). Eigenvalues at 0: +-i/2."""

dirac_nonsaturating = Field(_nonsaturating)
"""v = (-psi f'(-psi theta), theta f'(psi theta)): minimax with G's part times exp(psi theta) > 0.
So it vanishes where minimax does, and has its Jacobian there: one fixed point, one local rate."""

dirac_wasserstein = Field(_wasserstein)
"""v = (-psi, theta), from f(t) = t. Eigenvalues +-i: a pure rotation."""


def dirac_instance_noise(std: float) -> Field:
    """The expected minimax field when N(0, std^2) is added to real and fake (by 64 Gauss-Hermite nodes).

    Eigenvalues at 0: -std^2/4 +- sqrt(std^4/16 - 1/4). Noise that is drawn, not averaged, adds a floor.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    noise, weight = std * torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())

    def velocity(theta: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        fake, real = theta[..., None] + noise, noise
        slope, real_slope = _slope(psi[..., None] * fake), _slope(-psi[..., None] * real)
        return -psi * (slope @ weight), (fake * slope - real * real_slope) @ weight

    return Field(velocity)


def bilinear(A: Tensor) -> Field:
    """L = theta^T A psi with A [m, n]: v = (-A psi, A^T theta). Eigenvalues: +-i s, s A's singular values."""
    return Field(lambda theta, psi: (-psi @ A.T, theta @ A), (A.shape[0], A.shape[1]))


def gradient_penalty(field: Field, weight: float, target: float = 0.0) -> Field:
    """The field with the penalty weight/2 (|grad_x D| - target)^2 on D, where D(x) = psi x.

    It takes weight (psi - target sign psi) from v_psi. R1 and R2 at target 0;
    WGAN-GP at 1. R1 gives `dirac_minimax` the eigenvalues -w/2 +- sqrt(w^2/4 - 1/4).
    """

    def velocity(theta: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        v_theta, v_psi = field.velocity(theta, psi)
        return v_theta, v_psi - weight * (psi - target * psi.sign())

    return replace(field, velocity=velocity)


def clipped(field: Field, bound: float) -> Field:
    """The same field with psi returned to [-bound, bound] after every move (WGAN's weight clipping)."""
    return replace(field, project=lambda psi: psi.clamp(-bound, bound))


def consensus(field: Field, weight: float) -> Field:
    """v - weight grad |v|^2 / 2 = v - weight J^T v (Mescheder, Nowozin and Geiger 2017)."""

    def velocity(theta: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        v, pull = torch.func.vjp(field, torch.cat([theta, psi], -1))[:2]
        v_theta, v_psi = (v - weight * pull(v)[0]).split(field.sizes, -1)
        return v_theta, v_psi

    return replace(field, velocity=velocity)


# Plays ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Play:
    """One update (field, lr, points) -> points of the last `memory` points [memory, m + n], newest first."""

    update: Callable[[Field, float, Tensor], Tensor]
    memory: int = 1


def _simultaneous(field: Field, lr: float, points: Tensor) -> Tensor:
    return field.admissible(points + lr * field(points))


def _extragradient(field: Field, lr: float, points: Tensor) -> Tensor:
    ahead = _simultaneous(field, lr, points)
    return field.admissible(points + lr * field(ahead))


def _optimistic(field: Field, lr: float, points: Tensor) -> Tensor:
    now, before = points
    new = field.admissible(now + lr * (2 * field(now) - field(before)))
    return torch.stack([new, now])


simultaneous = Play(_simultaneous)
"""x <- x + h v(x): both gradients at the same point. Update eigenvalue 1 + h l for each l of the field."""

extragradient = Play(_extragradient)
"""x <- x + h v(x + h v(x)) (Korpelevich 1976). Update eigenvalue 1 + h l + (h l)^2."""

optimistic = Play(_optimistic, memory=2)
"""x' <- x + 2 h v(x) - h v(previous x) (Daskalakis 2018).
Update eigenvalues: the roots m of m^2 - (1 + 2 h l) m + h l."""


def alternating(d_steps: int = 1, generator_first: bool = False) -> Play:
    """psi moves `d_steps` times, then theta once, each seeing the other's last move (Algorithm 1 of 2014).

    Mescheder's experiments let the generator move first: the same rate, another phase of the orbit.
    """

    def update(field: Field, lr: float, points: Tensor) -> Tensor:
        m, n = field.sizes
        of_theta = torch.tensor([1.0] * m + [0.0] * n, dtype=points.dtype)
        turn = [1 - of_theta] * d_steps
        for mover in [of_theta, *turn] if generator_first else [*turn, of_theta]:
            points = field.admissible(points + lr * mover * field(points))
        return points

    return Play(update)


def trajectory(field: Field, start: Tensor, lr: float, steps: int, play: Play = simultaneous) -> Tensor:
    """The points of `steps` updates from start [m + n], start included: [steps + 1, m + n].

    >>> path = trajectory(dirac_wasserstein, torch.tensor([1.0, 0.0]), lr=0.5, steps=1)
    >>> path
    tensor([[1.0000, 0.0000],
            [1.0000, 0.5000]])
    """
    points = field.admissible(start).expand(play.memory, -1)
    path = [points[0]]
    for _ in range(steps):
        points = play.update(field, lr, points)
        path.append(points[0])
    return torch.stack(path)


# Rates ----------------------------------------------------------------------------------------------------


def jacobian(field: Field, point: Tensor) -> Tensor:
    """v'(x), [m + n, m + n]."""
    J = torch.func.jacrev(field)(point)
    assert isinstance(J, Tensor)
    return J


def eigenvalues(field: Field, point: Tensor) -> Tensor:
    """The eigenvalues of v'(x), complex [m + n]; the continuous flow is stable if all real parts are < 0."""
    return torch.linalg.eigvals(jacobian(field, point))


def predicted_rate(field: Field, equilibrium: Tensor, lr: float, play: Play = simultaneous) -> float:
    """The factor by which the distance to the equilibrium changes per update: the update's spectral radius.

    >>> origin = torch.zeros(2, dtype=torch.float64)
    >>> round(predicted_rate(dirac_minimax, origin, lr=0.2), 5)
    1.00499
    """
    shape = (play.memory, len(equilibrium))

    def update(flat: Tensor) -> Tensor:
        return play.update(field, lr, flat.view(shape)).flatten()

    J = torch.func.jacrev(update)(equilibrium.repeat(play.memory))
    return float(torch.linalg.eigvals(J).abs().max())


def measured_rate(path: Tensor, equilibrium: Tensor | float = 0.0) -> Quantity:
    """The mean factor per update of a path [steps + 1, m + n], fitted to the logarithm of its distances.

    The value comes from the path's second half. The error is its difference from the first half, large when
    the path is not (yet) linear, and 2A/n, the tilt that an oscillation of amplitude A can give to n points.
    """
    distance = (path - equilibrium).norm(dim=1)
    if not (distance > 0).all():
        raise ValueError("the path has reached the equilibrium exactly and has no rate: take fewer steps")
    (first, _), (second, tilt) = (_growth(half.numpy()) for half in distance.log().tensor_split(2))
    return Quantity(second, abs(second - first) + second * tilt, "slope of the log distance")


def _growth(log_distance: np.ndarray) -> tuple[float, float]:
    """The exponential of a line's slope, and how much its residuals may tilt it."""
    step = np.arange(len(log_distance))
    slope, height = np.polyfit(step, log_distance, 1)
    amplitude = math.sqrt(2) * np.std(log_distance - slope * step - height)
    return math.exp(slope), float(2 * amplitude / len(step))


# The generator's two losses -------------------------------------------------------------------------------


def generator_gradients(logits: Tensor) -> tuple[Tensor, Tensor]:
    """d/da of log(1 - sigmoid(a)) and of -log sigmoid(a), a = D's logits on fakes: -D and -(1 - D).

    >>> minimax, nonsaturating = generator_gradients(torch.tensor([-6.0, 0.0]))  # rejected, undecided
    >>> minimax, nonsaturating
    (tensor([-0.0025, -0.5000]), tensor([-0.9975, -0.5000]))
    """

    def of(loss: Callable[[Tensor], Tensor]) -> Tensor:
        gradient = torch.func.grad(lambda a: loss(a).sum())(logits)
        assert isinstance(gradient, Tensor)
        return gradient

    return of(lambda a: logsigmoid(-a)), of(lambda a: -logsigmoid(a))


def gradient_ratio(logits: Tensor) -> Tensor:
    """Non-saturating over minimax gradient: (1 - D)/D = exp(-logit), exactly; above 1 where D says fake."""
    return torch.exp(-logits)
