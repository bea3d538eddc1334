"""R3GAN's networks (Huang et al., NeurIPS 2024): residual blocks without normalisation, and resampling.

A block is x + C3 a(C2 a(C1 x)), with C1 and C3 of 1 x 1, C2 of 3 x 3 in groups and a = leaky ReLU. C3 starts
at zero and the others scaled by the depth (fix-up: Zhang et al. 2019), so that every block starts as the
identity and the sum of all first steps is as large as that of one.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pad, pixel_unshuffle

from zerosum.networks.images import Crop, Discriminator, Generator, Shape, Size, makes_images, scaled, sizes
from zerosum.networks.layers import MinibatchStd

__all__ = ["r3"]

_SLOPE = 0.2
_GAIN = (2 / (1 + _SLOPE**2)) ** 0.5  # keeps E[x^2] through the activation


def r3(
    inputs: Shape,
    outputs: Shape,
    classes: int = 0,
    width: int = 32,
    blocks: int = 1,
    group: int = 32,
    expansion: int = 2,
    patch: int | None = None,
    output: Callable[[], nn.Module] = nn.Tanh,
    minibatch_std: bool = False,
) -> Generator | Discriminator:
    """G, (latent,) -> (C, H, W), or D, (C, H, W) -> (), in stages of residual blocks, one for each size.

    H, W: 8 or more, equal or not, even or odd (`zerosum.networks.images` has the rule).
    classes: with labels, G is given an embedding of y beside z, and D is a projection discriminator.
    width: channels of the stage of the largest size, doubled at each halving up to 8 x width.
    blocks: of each stage; the paper has 2. expansion: of the width inside a block. group: channels of one
    group of the 3 x 3 convolution, or the next more that divide the channels.
    patch: the largest stage works on patches of patch x patch pixels, as channels; None is 2 from 16 pixels
    on, which spares three quarters of the work at full size, and 1 below. The paper has 1. Each pixel of G's
    is then the mean of a patch's size, which has no chequers (Sugawara et al. 2018).
    output: G's last activation. minibatch_std: D gets `MinibatchStd` and one more stage at its smallest
    size.

    At the start the gradient of C1 and C2 of each block is exactly 0, for C3 is; C3 moves first.

    >>> G, D = r3((64,), (3, 32, 32)), r3((3, 32, 32), ())
    >>> D(G(torch.randn(5, 64))).shape
    torch.Size([5])
    """
    if makes_images(inputs, outputs):
        plan = _Plan(outputs, width, blocks, group, expansion, patch)
        return Generator(classes, inputs[0], *_generator(plan, (2 if classes else 1) * inputs[0]), output())
    plan = _Plan(inputs, width, blocks, group, expansion, patch)
    return Discriminator(classes, plan.widths[0], *_discriminator(plan, minibatch_std))


class _Plan:
    """Sizes and widths of the stages, from the smallest size on, and how a stage is made."""

    def __init__(
        self, image: Shape, width: int, blocks: int, group: int, expansion: int, patch: int | None
    ) -> None:
        _, H, W = self.image = image
        self.patch = patch or (2 if min(H, W) >= 16 else 1)
        self.channels = image[0] * self.patch**2
        self.sizes = sizes(-(-H // self.patch), -(-W // self.patch))
        self.widths = [width * min(2**i, 8) for i in reversed(range(len(self.sizes)))]
        self.blocks, self.group, self.expansion = blocks, group, expansion

    def stage(self, width: int) -> list[nn.Module]:
        depth = self.blocks * len(self.sizes)
        return [Residual(width, width * self.expansion, self.group, depth) for _ in range(self.blocks)]


def _generator(plan: _Plan, inputs: int) -> list[nn.Module]:
    layers: list[nn.Module] = [Start(inputs, plan.widths[0], plan.sizes[0]), *plan.stage(plan.widths[0])]
    for (before, after), size in zip(pairwise(plan.widths), plan.sizes[1:], strict=True):
        layers += [_convolution(before, after, 1), Upsample(size), *plan.stage(after)]
    p = plan.patch
    pixels = _flat(_convolution(plan.widths[-1], plan.channels, 3), p**2)
    # the pixels of a patch have weights of their own, which drift apart: the mean of p x p has no chequers
    mean = nn.AvgPool2d(p, stride=1, padding=p // 2, count_include_pad=False)
    return [*layers, pixels, nn.PixelShuffle(p), mean, Crop((plan.image[1], plan.image[2]))]


@torch.no_grad()
def _flat(layer: nn.Conv2d, pixels: int) -> nn.Conv2d:
    """The pixels of a patch start equal (Aitken et al. 2017), and so their mean as large as they are."""
    layer.weight.copy_(layer.weight[::pixels].repeat_interleave(pixels, 0))
    return layer


def _discriminator(plan: _Plan, minibatch_std: bool) -> list[nn.Module]:
    widths = plan.widths[::-1]
    layers: list[nn.Module] = [Patches(plan.patch), _convolution(plan.channels, widths[0], 3)]
    layers += plan.stage(widths[0])
    for before, after in pairwise(widths):
        layers += [nn.AvgPool2d(2, ceil_mode=True), _convolution(before, after, 1), *plan.stage(after)]
    if minibatch_std:
        layers += [MinibatchStd(), _convolution(widths[-1] + 1, widths[-1], 1), *plan.stage(widths[-1])]
    return [*layers, End(widths[-1], plan.sizes[0])]


def _convolution(before: int, after: int, kernel: int) -> nn.Conv2d:
    return scaled(nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False))


class Residual(nn.Module):
    """x + C3 a(C2 a(C1 x)), ``[N, channels, H, W]`` to the same."""

    def __init__(self, channels: int, inner: int, group: int, depth: int) -> None:
        super().__init__()
        groups = next(g for g in range(max(inner // group, 1), 0, -1) if inner % g == 0)
        gain = _GAIN * depth**-0.25  # two scaled layers a block: each step moves the output by 1 / depth
        self.expand = scaled(nn.Conv2d(channels, inner, 1), gain)
        self.grouped = scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=groups), gain)
        self.project = scaled(nn.Conv2d(inner, channels, 1, bias=False), 0)

    def forward(self, x: Tensor) -> Tensor:
        h = leaky_relu(self.expand(x), _SLOPE)
        return x + self.project(leaky_relu(self.grouped(h), _SLOPE))


class Start(nn.Module):
    """z ``[N, latent]`` -> ``[N, channels, h, w]``: a learned picture a channel, times a linear map of z."""

    def __init__(self, latent: int, channels: int, size: Size) -> None:
        super().__init__()
        self.linear = scaled(nn.Linear(latent, channels, bias=False))
        self.basis = nn.Parameter(torch.randn(channels, *size))

    def forward(self, z: Tensor) -> Tensor:
        return self.basis * self.linear(z)[:, :, None, None]


class End(nn.Module):
    """``[N, channels, h, w]`` -> ``[N, channels]``: inner products of the channels with learned pictures."""

    def __init__(self, channels: int, size: Size) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(channels, *size) / prod(size) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.basis).sum((2, 3))


class Upsample(nn.Module):
    """Bilinear interpolation to a size."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, self.size, mode="bilinear")


class Patches(nn.Module):
    """``[N, C, H, W]`` -> ``[N, C p^2, ceil(H / p), ceil(W / p)]``, with zeros at the end of sides."""

    def __init__(self, p: int) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return pixel_unshuffle(pad(x, (0, -width % self.p, 0, -height % self.p)), self.p)
