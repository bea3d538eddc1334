"""Optimizers for games: what torch lacks, each a wrapper of any optimizer that torch has.

Everything in ``__all__`` makes a *factory*: a function from parameters to an optimizer, so that a game can
build one per player, each with its own settings (the two time scales of Heusel et al. 2017). Factories
compose:

>>> player = extragradient(adam(lr=1e-3))  # ExtraAdam of Gidel et al. (2019)
>>> optimizer = player([torch.zeros(2, requires_grad=True)])

A wrapper keeps every state in tensors and numbers, so that its `state_dict` resumes it exactly. As with
torch's, the tensors in a state are the optimizer's own: copy them to keep them. Minimisation in all
formulas; F is the joint gradient field of the two players, eta the learning rate.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

__all__ = ["adam", "clipped", "extragradient", "lookahead_minmax", "optimistic", "scheduled", "sgd"]

Factory = Callable[[Iterable[Tensor]], Any]


def sgd(lr: float = 0.1, momentum: float = 0.0, weight_decay: float = 0.0) -> Factory:
    """theta <- theta - lr v, v <- momentum v + gradient (`torch.optim.SGD`)."""
    return partial(_light(torch.optim.SGD), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)


def adam(
    lr: float = 2e-4, betas: tuple[float, float] = (0.5, 0.999), eps: float = 1e-8, weight_decay: float = 0.0
) -> Factory:
    """Adam (Kingma and Ba 2015) as `torch.optim.Adam`; the betas are DCGAN's (Radford et al. 2016)."""
    made = _light(torch.optim.Adam)
    return partial(made, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


@cache
def _light(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """The same optimizer without what torch wraps round its methods for its compiler and its profiler: the
    import of the one takes longer than many a first turn, and a step of the other a tenth of a small one.
    Hooks before and after a step, of one optimizer or of all, are called as torch calls them.
    """
    plain_step = torch.no_grad()(inspect.unwrap(kind.step))
    hooked_step = kind.profile_hook_step(plain_step)

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        of_one = self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks
        hooked = of_one or _global_optimizer_pre_hooks or _global_optimizer_post_hooks
        return (hooked_step if hooked else plain_step)(self, *args, **kwargs)

    step.__dict__["hooked"] = True  # torch is not to wrap it again
    names = ("add_param_group", "load_state_dict", "state_dict")
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    return type(kind.__name__, (kind,), plain | {"step": step})


class Wrapper:
    """An optimizer made of an optimizer. Subclasses add a rule round `step` and name the state it needs."""

    def __init__(self, base: Any) -> None:
        self.base = base
        self.memory: dict[str, Any] = {}

    @property
    def requires_simultaneous(self) -> bool:
        """Whether the rule holds only when both players step from the same point, once a turn."""
        return getattr(self.base, "requires_simultaneous", False)

    @property
    def at_extrapolation_point(self) -> bool:
        """Whether the parameters stand where the next step will not start from."""
        return getattr(self.base, "at_extrapolation_point", False)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.base.param_groups

    @property
    def parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def zero_grad(self) -> None:
        self.base.zero_grad()

    def step(self) -> None:
        self.base.step()

    def end_turn(self) -> None:
        """Called when both players have moved."""
        end_turn(self.base)

    def state_dict(self) -> dict[str, Any]:
        return {"base": self.base.state_dict(), "memory": dict(self.memory)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.base.load_state_dict(state["base"])
        self.memory = dict(state["memory"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r})"


def end_turn(optimizer: Any) -> None:
    """Tell a wrapper, and what it wraps, that both players have moved; optimizers of torch need not know."""
    if isinstance(optimizer, Wrapper):
        optimizer.end_turn()


def upcoming(optimizer: Any, ahead: int) -> dict[str, float]:
    """The settings that schedules give to an optimizer's next step, or to one so many steps later."""
    settings: dict[str, float] = {}
    while isinstance(optimizer, Wrapper):
        if isinstance(optimizer, Scheduled):
            settings = optimizer.settings_at(optimizer.memory["steps"] + ahead) | settings
        optimizer = optimizer.base
    return settings


def give(optimizer: Any, settings: Mapping[str, float]) -> None:
    """These settings, as of `upcoming`, are those of the next step."""
    while isinstance(optimizer, Wrapper):
        if isinstance(optimizer, Scheduled):
            optimizer.given = {name: settings[name] for name in optimizer.settings}
        optimizer = optimizer.base


def state_forms(factory: Factory, parameters: Sequence[Tensor]) -> Iterator[dict[str, Any]]:
    """What such an optimizer of such parameters remembers, in its form: before its first step, after it, and
    after the second (extragradient's come in pairs). The values are those of parameters and gradients of 0.
    """
    likes = [torch.zeros_like(p, requires_grad=True) for p in parameters]
    optimizer = factory(likes)
    yield optimizer.state_dict()
    for _ in range(2):
        for p in likes:
            p.grad = torch.zeros_like(p)
        optimizer.step()
        end_turn(optimizer)
        yield optimizer.state_dict()


def _copies(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [p.detach().clone() for p in parameters]


def _copy(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for p, value in zip(parameters, values, strict=True):  # one by one: they may be sharded
        p.copy_(value)


def extragradient(base: Factory) -> Factory:
    """Extragradient (Korpelevich 1976; Gidel et al. 2019, algorithms 1 and 4), over any base.

        omega' = omega - eta F(omega),    omega <- omega - eta F(omega')

    The first call of `step` goes to omega', the second returns to omega and moves by the gradient found at
    omega': one update takes two turns, on fresh data each, and the game must be simultaneous, with k = 1.
    Both halves pass through the base (for Adam: both update its moments, as ExtraAdam does). On the bilinear
    game x y each update contracts the distance to the equilibrium by sqrt((1 - eta^2)^2 + eta^2).
    """
    return lambda parameters: Extragradient(base(parameters))


class Extragradient(Wrapper):
    """See `extragradient`."""

    @property
    def requires_simultaneous(self) -> bool:
        return True

    @property
    def at_extrapolation_point(self) -> bool:
        return "anchor" in self.memory

    @torch.no_grad()
    def step(self) -> None:
        if self.at_extrapolation_point:
            _copy(self.parameters, self.memory.pop("anchor"))
        else:
            self.memory["anchor"] = _copies(self.parameters)
        self.base.step()


def optimistic(base: Factory) -> Factory:
    """Optimistic play over any base; over Adam it is Optimistic Adam (Daskalakis et al. 2018, algorithm 1).

        theta_{t+1} = theta_t + 2 u_t - u_{t-1},   u_t the move that the base makes at step t (u_0 = 0)

    One gradient a step. Over SGD, on the bilinear game x y in simultaneous play, the rate is the largest
    root, in modulus, of lambda^2 - (1 - 2 i eta) lambda - i eta.
    """
    return lambda parameters: Optimistic(base(parameters))


class Optimistic(Wrapper):
    """See `optimistic`."""

    @torch.no_grad()
    def step(self) -> None:
        parameters = self.parameters
        before = _copies(parameters)
        self.base.step()
        move = torch._foreach_sub(parameters, before)
        torch._foreach_add_(parameters, move)
        if "move" in self.memory:
            torch._foreach_sub_(parameters, self.memory["move"])
        self.memory["move"] = list(move)


def lookahead_minmax(base: Factory, every: int = 5, alpha: float = 0.5) -> Factory:
    """Lookahead-minmax (Chavdarova et al. 2021, algorithm 1) over any base.

        every k turns:  slow <- slow + alpha (theta - slow),    theta <- slow

    Both players look back at the end of the same turn, as the paper's joint form has it, in alternating play
    too. Over extragradient, whose update takes two turns, k counts updates. On a linear field with the map M
    for one turn (or update) of the base, k of them act as (1 - alpha) I + alpha M^k.
    """
    if every < 1 or not 0 < alpha <= 1:
        raise ValueError(f"lookahead_minmax: every = {every} must be >= 1 and alpha = {alpha} in (0, 1]")
    return lambda parameters: LookaheadMinmax(base(parameters), every, alpha)


class LookaheadMinmax(Wrapper):
    """See `lookahead_minmax`."""

    def __init__(self, base: Any, every: int, alpha: float) -> None:
        super().__init__(base)
        self.every = every
        self.alpha = alpha
        self.memory = {"turns": 0, "slow": _copies(self.parameters)}

    @torch.no_grad()
    def end_turn(self) -> None:
        super().end_turn()
        if self.at_extrapolation_point:
            return
        self.memory["turns"] += 1
        if self.memory["turns"] % self.every == 0:
            torch._foreach_lerp_(self.memory["slow"], self.parameters, self.alpha)
            _copy(self.parameters, self.memory["slow"])


def clipped(base: Factory, bound: float = 0.01) -> Factory:
    """Weight clipping: a step ends by projection to [-bound, bound] (Arjovsky et al. 2017, algorithm 1)."""
    if bound <= 0:
        raise ValueError(f"clipped: bound = {bound} must be positive (0.01 in the paper)")
    return lambda parameters: Clipped(base(parameters), bound)


class Clipped(Wrapper):
    """See `clipped`."""

    def __init__(self, base: Any, bound: float) -> None:
        super().__init__(base)
        self.bound = bound

    @torch.no_grad()
    def step(self) -> None:
        self.base.step()
        torch._foreach_clamp_min_(self.parameters, -self.bound)
        torch._foreach_clamp_max_(self.parameters, self.bound)


def scheduled(base: Factory, **settings: float | Callable[[int], float]) -> Factory:
    """Settings of the base that follow a schedule: each a function of how many steps this player has taken.

    A number is a schedule that stays. Adam's betas are the settings `beta1` and `beta2`.

    >>> from zerosum.schedules import ramp
    >>> player = scheduled(sgd(), lr=ramp(0.1, 0.0, steps=1000), momentum=ramp(0.5, 0.7, steps=500))
    """
    return lambda parameters: Scheduled(base(parameters), settings)


class Scheduled(Wrapper):
    """See `scheduled`."""

    def __init__(self, base: Any, settings: Mapping[str, float | Callable[[int], float]]) -> None:
        super().__init__(base)
        group = self.param_groups[0]
        names = [k for k in group if k != "params"] + (["beta1", "beta2"] if "betas" in group else [])
        unknown = sorted(set(settings) - set(names))
        if unknown:
            raise ValueError(f"scheduled: the base has no setting {unknown[0]!r}; it has {', '.join(names)}")
        self.settings = settings
        for name, value in self.settings_at(0).items():  # the base checked its own, and not these
            if not 0 <= value < (1 if "beta" in name else math.inf):
                below = "below 1" if "beta" in name else "finite"
                raise ValueError(f"scheduled: {name} = {value} should be {below} and not below 0")
        self.given: dict[str, float] | None = None
        self.memory = {"steps": 0}

    def settings_at(self, step: int) -> dict[str, float]:
        """The settings of the step that comes after so many."""
        return {name: at(step) if callable(at) else at for name, at in self.settings.items()}

    def step(self) -> None:
        settings = self.settings_at(self.memory["steps"]) if self.given is None else self.given
        for name, value in settings.items():
            for group in self.param_groups:
                _set(group, name, value)
        self.given = None
        self.memory["steps"] += 1
        self.base.step()


def _set(group: dict[str, Any], name: str, value: float) -> None:
    """Set a setting of a group of parameters; of Adam's two betas one."""
    if name == "beta1":
        group["betas"] = (value, group["betas"][1])
    elif name == "beta2":
        group["betas"] = (group["betas"][0], value)
    else:
        group[name] = value
