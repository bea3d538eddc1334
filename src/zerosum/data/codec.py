"""Codecs: what an example is, and the way there and back.

Bytes, columns and classes become the floats that the players see, and floats become what a person keeps, here
and nowhere else. A source owns its codec, a checkpoint keeps it as plain data (`state_dict`, `restore`), and
whoever writes, judges or draws examples asks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

__all__ = ["Codec", "Numbers", "Pixels", "restore"]


@runtime_checkable
class Codec(Protocol):
    """What an example is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example as the players see it."""
        ...

    def encode(self, values: Any) -> Tensor:
        """What a person has -> what the players see, float32 ``[n, *shape]``."""
        ...

    def decode(self, x: Tensor) -> Any:
        """What G makes, ``[n, *shape]`` -> what a person keeps, n of them."""
        ...

    def view(self, x: Tensor) -> Tensor:
        """What is shown to the eye: uint8 ``[n, C, H, W]`` of images, float32 ``[n, d]`` of anything else."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All of it as plain data, from which `restore` makes an equal one; its ``codec`` names the kind."""
        ...


@dataclass(frozen=True)
class Pixels:
    """Images of 8 bits a channel: byte 0 is `low`, byte 255 is `high`, the levels between evenly spaced.

    >>> codec = Pixels((1, 1, 2))
    >>> codec.encode(np.array([[[0, 255]]], dtype=np.uint8)).tolist()
    [[[[-1.0, 1.0]]]]
    >>> codec.decode(torch.tensor([[[[-9.0, 0.0]]]])).tolist()
    [[[0, 128]]]
    """

    shape: tuple[int, int, int]
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"images need low < high: got {self.low} and {self.high}")

    def encode(self, values: Any) -> Tensor:
        """uint8 ``[n, H, W]``, ``[n, H, W, C]`` or tensors ``[n, C, H, W]`` -> ``[n, C, H, W]``."""
        pixels = values if isinstance(values, Tensor) else torch.from_numpy(self._channels_first(values))
        return pixels.to(torch.float32).div_(255).mul_(self.high - self.low).add_(self.low)

    def decode(self, x: Tensor) -> np.ndarray:
        """The nearest of the 256 levels: uint8 ``[n, H, W]`` if grey, else ``[n, H, W, C]``."""
        pixels = self.view(x).numpy()
        return pixels[:, 0] if self.shape[0] == 1 else pixels.transpose(0, 2, 3, 1)

    def view(self, x: Tensor) -> Tensor:
        """The same as ``[n, C, H, W]``; what lies outside of [low, high] is clipped."""
        levels = x.float().cpu().sub(self.low).mul(255 / (self.high - self.low))
        return levels.round_().clamp_(0, 255).to(torch.uint8)

    def state_dict(self) -> dict[str, Any]:
        return {"codec": "pixels", **asdict(self)}

    def _channels_first(self, images: np.ndarray) -> np.ndarray:
        return images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)


@dataclass(frozen=True)
class Numbers:
    """Numbers as they are: the players see what a person has."""

    shape: tuple[int, ...]

    def encode(self, values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32)

    def decode(self, x: Tensor) -> np.ndarray:
        return x.float().cpu().numpy()

    def view(self, x: Tensor) -> Tensor:
        return x.float().cpu().flatten(1)

    def state_dict(self) -> dict[str, Any]:
        return {"codec": "numbers", "shape": list(self.shape)}


def restore(state: Mapping[str, Any]) -> Codec:
    """The codec whose `state_dict` this is. Raises ValueError for a kind that there is not."""
    if state.get("codec") in ("columns", "scaled"):  # scaled: as runs of format 1 have it
        from zerosum.data.columns import Columns, plain

        if state["codec"] == "scaled":
            return plain(state["columns"], state["mean"], state["scale"])
        return Columns.from_state(state)
    kinds: dict[str, Any] = {"pixels": Pixels, "numbers": Numbers}
    options = {name: tuple(x) if isinstance(x, list) else x for name, x in state.items() if name != "codec"}
    if state.get("codec") not in kinds:
        raise ValueError(
            f"a codec of the kind {state.get('codec')!r} is not known: one of {', '.join(kinds)}, columns"
        )
    return kinds[state["codec"]](**options)
