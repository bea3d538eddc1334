"""Regularisers of the critic: functions of D and of the points it judges.

A penalty is called as ``penalty(critic, real, fake) -> [N]``, one value per example, where critic maps
``[N, ...]`` to logits ``[N]``. It carries a `weight` and an `every`: a lazy penalty is taken every so many
steps of D with its weight multiplied by `every`, so that its mean strength stays the same (Karras et al.
2020, section 3.1). The loss of D is the objective's mean plus, for each penalty, weight x every x mean.

A penalty ``of="G"`` is added to the loss of G instead, and counts the steps of G. It is called as
``penalty(critic, real, fake, G=G, z=z, y=y)``: fake = G(z, y) carries its graph; real are the examples of its
step and y what belongs to them (None in a game without conditions); G is the player as a function.

Points between real and fake, and DRAGAN's, are drawn by torch's generator, which the game seeds from the
step.

Two regularisers are no function of points: weight clipping is `optimizers.clipped`, which projects after each
step, and spectral normalisation is `networks.spectral_norm`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

__all__ = ["Penalty", "dragan", "lecam", "r1", "r2", "wgan_gp", "zero_centred_gp"]

Critic = Callable[[Tensor], Tensor]
Function = Callable[..., Tensor]
"""``(critic, real, fake) -> [N]``, or ``(critic, real, fake, G, z, y) -> [N]`` of a penalty of G."""
Weight = float | Callable[[int], float | Tensor]
"""A number, or a schedule: a function of how many steps D has taken (see `zerosum.schedules`)."""


class Penalty(nn.Module):
    """A function ``(critic, real, fake) -> [N]``, any one of yours too, with a weight and a rhythm.

    of: "D", or "G" for a penalty of G, whose function is ``(critic, real, fake, G, z, y) -> [N]``.
    A function that keeps state (as `lecam`) is a module with buffers, and is saved and resumed with the game.
    mixes_examples: whether the value of an example depends on the others of its batch. Then the function may
    have a method ``statistics(critic, real, fake) -> [m]``: where a batch is played in parts, it is asked of
    each, without gradients, and the function is called with their mean, ``statistics=[m]``.

    >>> small = Penalty(lambda critic, real, fake: critic(fake) ** 2, weight=0.001, name="small")
    >>> small(lambda x: x.sum(-1), torch.ones(1, 2), torch.ones(1, 2))
    tensor([4.])
    """

    def __init__(
        self,
        function: Function,
        weight: Weight,
        every: int = 1,
        name: str = "",
        mixes_examples: bool = False,
        of: Literal["D", "G"] = "D",
    ) -> None:
        super().__init__()
        if not callable(weight) and weight < 0:
            raise ValueError(f"penalty {name}: weight must be >= 0: got {weight}")
        if every < 1:
            raise ValueError(f"penalty {name}: every must be >= 1: got {every}")
        self.function = function
        self.weight = weight
        self.every = every
        if of not in ("D", "G"):
            raise ValueError(f"penalty {name}: of={of!r} must be 'D' or 'G'")
        self.mixes_examples = mixes_examples
        self.statistics: Function | None = getattr(function, "statistics", None)
        self.of: Literal["D", "G"] = of
        self.name = name or getattr(function, "__name__", type(function).__name__)

    def forward(self, critic: Critic, real: Tensor, fake: Tensor, **more: Any) -> Tensor:
        return self.function(critic, real, fake, **more)

    def due(self, d_step: int) -> bool:
        """Whether step `d_step` of its player takes this penalty."""
        return d_step % self.every == 0

    def strength(self, d_step: int = 0) -> float | Tensor:
        """weight x every, at step `d_step` of D."""
        return (self.weight(d_step) if callable(self.weight) else self.weight) * self.every

    def term(self, critic: Critic, real: Tensor, fake: Tensor, d_step: int = 0) -> Tensor:
        """What the penalty adds to the loss of D at its step `d_step`: weight x every x mean, a scalar."""
        return self.strength(d_step) * self(critic, real, fake).mean()

    def extra_repr(self) -> str:
        return f"{self.name}, weight={self.weight}, every={self.every}, of={self.of}"


def r1(weight: Weight = 1.0, every: int = 1) -> Penalty:
    """R_1 = |grad a(x)|^2 / 2 at real x (Mescheder et al. 2018, equation 9); weight: gamma.

    >>> r1()(lambda x: x @ torch.tensor([3.0, 4.0]), torch.zeros(2, 2), torch.zeros(2, 2))
    tensor([12.5000, 12.5000])
    """
    return Penalty(lambda critic, real, fake: _slope(critic, real).square().sum(1) / 2, weight, every, "r1")


def r2(weight: Weight = 1.0, every: int = 1) -> Penalty:
    """R_2 = |grad a(x)|^2 / 2 at generated x (Mescheder et al. 2018, equation 10); weight: gamma."""
    return Penalty(lambda critic, real, fake: _slope(critic, fake).square().sum(1) / 2, weight, every, "r2")


def wgan_gp(weight: Weight = 10.0, every: int = 1) -> Penalty:
    """(|grad a(x)| - 1)^2 at x uniform between a real and a fake point (Gulrajani et al. 2017, eq. 3)."""

    def unit_slope(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        return (_slope(critic, _between(real, fake)).norm(dim=1) - 1).square()

    return Penalty(unit_slope, weight, every, "wgan_gp")


def zero_centred_gp(weight: Weight = 10.0, every: int = 1) -> Penalty:
    """|grad a(x)|^2 at x uniform between a real and a fake point (Thanh-Tung et al. 2019, section 5)."""

    def flat(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        return _slope(critic, _between(real, fake)).square().sum(1)

    return Penalty(flat, weight, every, "zero_centred_gp")


def dragan(weight: Weight = 10.0, every: int = 1, spread: float = 0.5) -> Penalty:
    """(|grad a(x)| - 1)^2 at x + spread std(x) u, x real, u ~ U[0, 1] (Kodali et al. 2017, algorithm 1).

    std(x) is one number for the whole batch.
    """
    return Penalty(_Dragan(spread), weight, every, "dragan", mixes_examples=True)


class _Dragan:
    def __init__(self, spread: float) -> None:
        self.spread = spread

    def statistics(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        return torch.stack([real.mean(), real.square().mean()])

    def __call__(
        self, critic: Critic, real: Tensor, fake: Tensor, statistics: Tensor | None = None
    ) -> Tensor:
        if statistics is None:
            std = real.std(correction=0)
        else:
            mean, square = statistics.unbind()
            std = (square - mean.square()).clamp(min=0).sqrt()
        near = real + self.spread * std * torch.rand_like(real)
        return (_slope(critic, near).norm(dim=1) - 1).square()


def lecam(weight: Weight = 0.3, every: int = 1, decay: float = 0.99) -> Penalty:
    """(a(x) - f)^2 + (a(G(z)) - r)^2 (Tseng et al. 2021, equation 5).

    r and f are running means of the real and the fake logits, with this decay a step; they start at 0.
    """
    return Penalty(_LeCam(decay), weight, every, "lecam", mixes_examples=True)


class _LeCam(nn.Module):
    real: Tensor
    fake: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("fake", torch.zeros(()))

    def statistics(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        return torch.stack([critic(real).detach().mean(), critic(fake).detach().mean()])

    def forward(self, critic: Critic, real: Tensor, fake: Tensor, statistics: Tensor | None = None) -> Tensor:
        real_logits, fake_logits = critic(real), critic(fake)
        means = self.statistics(critic, real, fake) if statistics is None else statistics
        self.real.lerp_(means[0].to(self.real), 1 - self.decay)
        self.fake.lerp_(means[1].to(self.fake), 1 - self.decay)
        return (real_logits - self.fake).square() + (fake_logits - self.real).square()


def _slope(critic: Critic, x: Tensor) -> Tensor:
    """grad a(x) for each example, [N, d]; differentiable again. An x that asks for its gradient is taken as
    it is, so that a critic which has judged it need not do so again.

    The logits are summed and not averaged, so that one example's gradient does not depend on the batch size.
    """
    x = x if x.is_leaf and x.requires_grad else x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return slope.flatten(1)


def _between(real: Tensor, fake: Tensor) -> Tensor:
    """A uniform point on the segment from each real to its fake: one share per example."""
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    return real.detach().lerp(fake.detach(), share)
