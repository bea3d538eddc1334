"""What layers and penalties draw at random: seeded from the step, and torch's generator left as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Draws", "DrawsOfMembers", "NoDraws", "PartDraws"]


class Draws(Protocol):
    """A context within which the draws of a turn follow from its seeds."""

    def __enter__(self) -> Draws: ...
    def __exit__(self, *error: object) -> None: ...

    def part(self, i: int) -> None:
        """From here on draws are those of the i-th part of a batch."""
        ...


class PartDraws:
    """Each part of a batch has a stream of its own, which goes on from step to step of the turn."""

    def __init__(self, device: torch.device, seeds: Sequence[int]) -> None:
        self.generator = torch.default_generator if device.type == "cpu" else _of_accelerator(device)
        self.seeds = seeds

    def __enter__(self) -> PartDraws:
        self.before = self.generator.get_state()
        self.states: dict[int, Tensor] = {}
        self.now = 0
        self.generator.manual_seed(self.seeds[0])
        return self

    def part(self, i: int) -> None:
        if i == self.now:
            return
        self.states[self.now] = self.generator.get_state()
        if i in self.states:
            self.generator.set_state(self.states[i])
        else:
            self.generator.manual_seed(self.seeds[i])
        self.now = i

    def __exit__(self, *error: object) -> None:
        self.generator.set_state(self.before)


def _of_accelerator(device: torch.device) -> torch.Generator:
    module = torch.get_device_module(device)
    module.init()
    return module.default_generators[device.index or 0]


class NoDraws:
    """Nothing draws."""

    def __init__(self, device: torch.device, seeds: Sequence[int]) -> None:
        pass

    def __enter__(self) -> NoDraws:
        return self

    def part(self, i: int) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


class DrawsOfMembers(NoDraws):
    """What is drawn for the batch of all members of an ensemble is drawn for each from its own stream."""

    def __init__(self, device: torch.device, seeds: Sequence[int]) -> None:
        self.mode = _Drawn([torch.Generator(device).manual_seed(seed) for seed in seeds])
        self.within = ExitStack()

    def __enter__(self) -> DrawsOfMembers:
        self.within.enter_context(self.mode)
        return self

    def __exit__(self, *error: object) -> None:
        self.within.close()


class _Drawn(TorchFunctionMode):
    """Within, what is drawn for the batch of all members is drawn for each from a generator of its own."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = generators

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _LIKE:
            like = args[0]
            return self._draw(
                _LIKE[func], like.shape, **{"dtype": like.dtype, "device": like.device, **kwargs}
            )
        if func in _LIKE.values() and "generator" not in kwargs:
            return self._draw(func, torch.Size(args[0] if isinstance(args[0], Sequence) else args), **kwargs)
        return func(*args, **kwargs)

    def _draw(self, draw: Any, shape: torch.Size, **kwargs: Any) -> Tensor:
        part = (shape[0] // len(self.generators), *shape[1:])
        return torch.cat([draw(part, generator=generator, **kwargs) for generator in self.generators])


_LIKE = {torch.rand_like: torch.rand, torch.randn_like: torch.randn}
