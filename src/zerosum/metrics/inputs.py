"""What a metric accepts, decided in one place.

Numbers are float `[N, ...]` in any units, or uint8 `[N, d]`, and are compared as they are. Images are uint8
in 0 ... 255, `[N, H, W]` or `[N, H, W, C]` as `zerosum sample` writes them; they, and whatever they are
compared with, become float `[N, C, H, W]` in [-1, 1], the form of a generator's images. The shape of floats
alone makes no image of them: a signal `[N, C, L]` is not clamped. Everything else is an error: a metric never
returns a number for input that it had to guess about."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["as_images", "as_labels", "matched"]


def matched(*, least: int = 2, **sets: Any) -> tuple[Tensor, ...]:
    """The named sets as finite float tensors `[N, d]` of one width, dtype and device, with at least `least`
    examples each.

    Where one of them is of images (uint8 with more than two axes), all are, and become floats in [-1, 1];
    images that have no value below 0 are taken for [0, 1] data and refused.

    >>> (x,) = matched(real=torch.tensor([[[0, 255]], [[255, 0]]], dtype=torch.uint8))
    >>> x.tolist()
    [[-1.0, 1.0], [1.0, -1.0]]

    Raises:
        ValueError: wrong type or shape, too few examples, NaN or infinity, images outside [-1, 1], sets that
        differ in shape.
    """
    tensors = {name: _tensor(x, name) for name, x in sets.items()}
    pixels = any(x.ndim > 2 and x.dtype == torch.uint8 for x in tensors.values())
    shaped = {name: as_images(x, name) if pixels else _floats(x) for name, x in tensors.items()}
    first, reference = next(iter(shaped.items()))
    for name, x in shaped.items():
        if len(x) < least:
            raise ValueError(f"{name} has {len(x)} examples; at least {least} are needed")
        if x.shape[1:] != reference.shape[1:]:
            raise ValueError(
                f"{name} has examples of shape {tuple(x.shape[1:])} but {first} has "
                f"{tuple(reference.shape[1:])}; bring both to one size first"
            )
        if pixels and tensors[name].dtype != torch.uint8 and x.min() >= 0:
            raise ValueError(f"{name} looks like images in [0, 1]; give uint8, or floats in [-1, 1]")
    dtype = torch.float64 if any(x.dtype == torch.float64 for x in shaped.values()) else torch.float32
    return tuple(x.flatten(1).to(reference.device, dtype) for x in shaped.values())


def as_images(x: Any, name: str = "images") -> Tensor:
    """Images as float `[N, C, H, W]` in [-1, 1].

    Floats have that form already; they may overshoot to ±2 and are then clamped, as they are when an image
    file is written. Of uint8 with four axes the channels are the shorter of the second and the last, the last
    of equals.
    """
    x = _tensor(x, name)
    if x.ndim not in (3, 4):
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; images are uint8 [N, H, W(, C)] or float [N, C, H, W]"
        )
    if x.ndim == 3:
        x = x.unsqueeze(1)
    elif x.dtype == torch.uint8 and x.shape[-1] <= x.shape[1]:
        x = x.movedim(-1, 1)
    if x.dtype == torch.uint8:
        return x.float() / 127.5 - 1
    if x.abs().max() > 2:
        low, high = float(x.min()), float(x.max())
        raise ValueError(
            f"{name} reaches from {low:.3g} to {high:.3g}; images are uint8 or floats in [-1, 1]"
        )
    return _floats(x).clamp(-1, 1)


def as_labels(x: Any, classes: int, name: str = "labels") -> Tensor:
    """Class labels as int64 `[N]`, each in 0 ... `classes` - 1."""
    x = torch.as_tensor(x).detach()
    if x.ndim != 1 or len(x) == 0 or x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise ValueError(
            f"{name} must be whole numbers of shape [N], not {x.dtype} of shape {tuple(x.shape)}"
        )
    if x.min() < 0 or x.max() >= classes:
        raise ValueError(f"{name} reach from {int(x.min())} to {int(x.max())}; expected 0 to {classes - 1}")
    return x.long()


def _tensor(x: Any, name: str) -> Tensor:
    try:
        x = torch.as_tensor(x).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} is not one array of numbers ({type(x).__name__}); stack examples of one size"
        ) from error
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"{name} has shape {tuple(x.shape)}; expected [N, d], or images [N, ...]")
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise ValueError(f"{name} has type {x.dtype}; give uint8 or floats")
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).sum())
        raise ValueError(f"{name} has {bad:,} values that are NaN or infinite; look for a fault in the run")
    return x


def _floats(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
