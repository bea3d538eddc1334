"""A player: a network, the optimizer that moves it, and the running average of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zerosum.optimizers import Factory, end_turn, give

__all__ = ["Critic", "Decay", "Player", "Precision", "judge"]

Decay = float | Callable[[int], float]
"""A number in [0, 1), or a schedule: a function of how many turns were played."""
Precision = Literal["fp32", "bf16"]


class Player:
    """A network, the optimizer that moves it, and the running average of its weights.

    Called, it is the network at the player's precision: G(z), D(x), or G(z, y), D(x, y).
    average: a copy of the network whose weights and buffers follow after each turn t = 0, 1, ... by
    avg <- avg + (1 - d) (theta - avg), with d = min(decay, (1 + t) / (10 + t)), so that the first steps are
    soon forgotten (integer buffers are copied); None without. decay: a number or a schedule.
    gather: what is done to the gradients, of all parameters in their order, before a step moves by them.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Factory,
        decay: Decay | None = None,
        precision: Precision = "fp32",
    ) -> None:
        self.network = network
        self.factory = optimizer
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError(f"{type(network).__name__} cannot play: no parameter of it requires a gradient")
        self.optimizer = optimizer(self.parameters)
        self.decay = decay
        self.precision: Precision = precision
        self.device, self.dtype = self.parameters[0].device, self.parameters[0].dtype
        self.gather: Callable[[Sequence[Tensor]], None] | None = None
        self.average = deepcopy(network).requires_grad_(False) if decay is not None else None
        both = (self.average, network) if self.average is not None else ()
        self._followed: list[list[Tensor]] = [[*one.parameters()] for one in both]

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """What the network makes of x, and of a condition y if there is one, in the dtype of its weights."""
        with self._autocast():
            answer = self.network(x) if y is None else self.network(x, y)
        return answer.to(self.dtype)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @property
    def leaves(self) -> Sequence[Tensor]:
        """What gradients are computed for."""
        return self.parameters

    def step(self, rates: Mapping[str, float]) -> None:
        """Move by the gradients, and forget them. rates: the settings that a schedule gives to this step."""
        if self.gather is not None:
            self.gather(self.parameters)
        if rates:
            give(self.optimizer, rates)
        self.optimizer.step()
        for p in self.parameters:
            p.grad = None

    def decay_at(self, step: int) -> float | None:
        """The decay of the average after turn `step`; None without an average."""
        if self.decay is None:
            return None
        return min(self.decay(step) if callable(self.decay) else self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def end_turn(self, decay: float | None = None) -> None:
        """What is due when both have moved: look back (lookahead-minmax), then let the average follow."""
        end_turn(self.optimizer)
        if self.average is None or decay is None:
            return
        torch._foreach_lerp_(self._followed[0], self._followed[1], 1 - decay)
        for average, mine in zip(self.average.buffers(), self.network.buffers(), strict=True):
            average.lerp_(mine, 1 - decay) if mine.is_floating_point() else average.copy_(mine)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within, gradients pass through the network but none is computed for its weights."""
        for p in self.parameters:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in self.parameters:
                p.requires_grad_(True)

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))  # optimizers keep what they are given
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def __repr__(self) -> str:
        group = self.optimizer.param_groups[0]
        size = sum(p.numel() for p in self.parameters)
        optimizer = f"{type(self.optimizer).__name__}(lr={group['lr']:.3g})" if "lr" in group else ""
        average = ", averaged" if self.average is not None else ""
        return f"{type(self.network).__name__} of {size:,} parameters, {optimizer}{average}"


class Critic:
    """D for a penalty: a function of x that answers from memory where it was asked before."""

    def __init__(self, D: Player, y: Tensor | None, answers: Mapping[Tensor, Tensor]) -> None:
        self.D = D
        self.y = y
        self.answers = answers  # tensors are told apart by identity

    def __call__(self, x: Tensor) -> Tensor:
        return self.answers[x] if x in self.answers else self.D(x, self.y)


def judge(
    D: Player, real: Tensor, fake: Tensor, y: Tensor | None, apart: bool, members: int | None = None
) -> tuple[Tensor, Tensor]:
    """D's logits of both, ``[n]`` each: in one pass, or apart, as a D must that mixes the examples it judges.

    members: how many games' examples stand one after the other; each has its real and fake side by side.
    """
    if apart:
        return logits_of(D, real, y), logits_of(D, fake, y)
    if members is None:
        logits = logits_of(D, torch.cat([real, fake]), None if y is None else torch.cat([y, y]))
        return logits[: len(real)], logits[len(real) :]
    rows = [x.reshape(members, -1, *x.shape[1:]) for x in (real, fake)]
    labels = None if y is None else y.reshape(members, -1, *y.shape[1:])
    both = torch.cat(rows, 1).flatten(0, 1)
    logits = logits_of(D, both, None if labels is None else torch.cat([labels, labels], 1).flatten(0, 1))
    real_logits, fake_logits = logits.reshape(members, -1).chunk(2, 1)
    return real_logits.flatten(), fake_logits.flatten()


def logits_of(D: Player, x: Tensor, y: Tensor | None) -> Tensor:
    """D's logits, of which there must be one for each example."""
    logits = D(x, y)
    if logits.shape != (len(x),):
        raise ValueError(
            f"D gives {list(logits.shape)} for {len(x)} examples: one logit each, as nn.Flatten(0)"
        )
    return logits
