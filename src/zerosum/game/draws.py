"""Parts of a batch, one after the other: what each draws at random, and what it leaves in the networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from zerosum.game.inputs import Part
    from zerosum.game.play import Game

__all__ = ["Draws", "DrawsOfMembers", "NoDraws", "PartDraws"]


class Draws(Protocol):
    """A context within which what layers and penalties draw in a turn follows from its seeds; torch's
    generator is left as it was.
    """

    def __enter__(self) -> Draws: ...
    def __exit__(self, *error: object) -> None: ...

    def each(self, parts: Sequence[Part]) -> Iterator[Part]:
        """The parts of a step, each to be played before the next one is asked for."""
        ...

    def rehearse(self, parts: Sequence[Part]) -> Iterator[Part]:
        """The same parts before `each`: what they draw and leave in the networks will be as if they had not
        been played.
        """
        ...


class PartDraws:
    """Each part of a batch draws from a stream of its own, which goes on from step to step of the turn.

    Each starts from the buffers of the networks and penalties as they were before the step (running means,
    power iterations); after it they have moved by the mean of all parts' moves, on all ranks. So parts may be
    played one after the other or at once.
    """

    def __init__(self, game: Game, seeds: Sequence[int]) -> None:
        self.game = game
        self.generator = _generator(game.device)
        self.seeds = seeds

    def __enter__(self) -> PartDraws:
        self.before = self.generator.get_state()
        self.states: dict[int, Tensor] = {}
        self.now = 0
        self.generator.manual_seed(self.seeds[0])
        return self

    def each(self, parts: Sequence[Part]) -> Iterator[Part]:
        if self.game.accumulate == self.game.world == 1:
            yield parts[0]
            return
        buffers = self.game.buffers
        before = [b.clone() for b in buffers]
        moves = [torch.zeros_like(b) for b in buffers]
        for i, part in enumerate(parts):
            self._begin(i, buffers, before)
            yield part
            for b, old, move in zip(buffers, before, moves, strict=True):
                move.add_(b - old, alpha=1 / len(parts))
        if self.game.ranks is not None:
            self.game.ranks.average_(moves)
        for b, old, move in zip(buffers, before, moves, strict=True):
            b.copy_(old + move)

    def rehearse(self, parts: Sequence[Part]) -> Iterator[Part]:
        buffers = self.game.buffers
        before = [b.clone() for b in buffers]
        streams = self.now, dict(self.states), self.generator.get_state()
        for i, part in enumerate(parts):
            self._begin(i, buffers, before)
            yield part
        for b, old in zip(buffers, before, strict=True):
            b.copy_(old)
        self.now, self.states, state = streams
        self.generator.set_state(state)

    def _begin(self, i: int, buffers: Sequence[Tensor], before: Sequence[Tensor]) -> None:
        """The i-th part comes: its stream of draws, and the buffers as they were before the step."""
        self._go_to(i)
        for b, old in zip(buffers, before, strict=True):
            b.copy_(old)

    def _go_to(self, i: int) -> None:
        """From here on draws are those of the i-th part."""
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


def _generator(device: torch.device) -> torch.Generator:
    """The generator that layers on this device draw from."""
    if device.type == "cpu":
        return torch.default_generator
    module = torch.get_device_module(device)
    module.init()
    return module.default_generators[device.index or 0]


class NoDraws:
    """Nothing draws, and there is one part."""

    def __init__(self, game: Game, seeds: Sequence[int]) -> None:
        pass

    def __enter__(self) -> NoDraws:
        return self

    def each(self, parts: Sequence[Part]) -> Iterator[Part]:
        yield from parts

    rehearse = each

    def __exit__(self, *error: object) -> None:
        pass


class DrawsOfMembers(NoDraws):
    """What is drawn for the batch of all members of an ensemble is drawn for each from its own stream."""

    def __init__(self, game: Game, seeds: Sequence[int]) -> None:
        self.mode = _Drawn([torch.Generator(game.device).manual_seed(seed) for seed in seeds])
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
