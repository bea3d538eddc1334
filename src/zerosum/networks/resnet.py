"""SNGAN (Miyato et al. 2018, tables 3 to 5): pre-activation residual blocks, spectral normalisation of D."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from zerosum.networks.images import Discriminator, M, Shape, Size, makes_images, sizes
from zerosum.networks.layers import ConditionalBatchNorm, MinibatchStd, spectral_norm

__all__ = ["resnet"]


def resnet(
    inputs: Shape,
    outputs: Shape,
    classes: int = 0,
    width: int = 64,
    spectral: bool = True,
    output: Callable[[], nn.Module] = nn.Tanh,
    minibatch_std: bool = False,
) -> ResnetGenerator | Discriminator:
    """G, (latent,) -> (C, H, W), or D, (C, H, W) -> (), of one residual block for each change of size.

    H, W: 8 or more, equal or not, even or odd (`zerosum.networks.images` has the rule). D has one more block
    at its smallest size, then sums over the pixels.
    classes: with labels, G's batch norm is conditional, and D is a projection discriminator.
    width: channels everywhere; the paper has 256 in G and 128 in D at 32 x 32.
    spectral: spectral normalisation of all of D; without, D takes the mean over the pixels.
    output: G's last activation. minibatch_std: `MinibatchStd` before D's last block.

    >>> import torch
    >>> G, D = resnet((64,), (1, 28, 28), width=32, classes=10), resnet((1, 28, 28), (), width=32, classes=10)
    >>> y = torch.arange(5)
    >>> D(G(torch.randn(5, 64), y), y).shape
    torch.Size([5])
    """
    if makes_images(inputs, outputs):
        return ResnetGenerator(inputs[0], outputs, classes, width, output)
    halvings = len(sizes(*inputs[1:])) - 1
    layers: list[nn.Module] = [First(inputs[0], width), *(Down(width, width) for _ in range(halvings - 1))]
    layers += [MinibatchStd(), Flat(width + 1, width)] if minibatch_std else [Flat(width, width)]
    pool = [SumPool()] if spectral else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    D = Discriminator(classes, width, *layers, nn.ReLU(), *pool)
    for layer in list(D.modules()) if spectral else ():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            spectral_norm(layer)
    return D


class ResnetGenerator(nn.Module):
    """z ``[N, latent]`` (and y ``[N]``) -> x ``[N, C, H, W]``."""

    def __init__(
        self, latent: int, image: Shape, classes: int, width: int, output: Callable[[], nn.Module]
    ) -> None:
        super().__init__()
        smallest, *grown = sizes(*image[1:])
        self.start = nn.Sequential(
            _xavier(nn.Linear(latent, width * prod(smallest))), nn.Unflatten(1, (width, *smallest))
        )
        self.blocks = nn.ModuleList(Up(width, size, classes) for size in grown)
        self.norm = _norm(width, classes)
        self.end = nn.Sequential(nn.ReLU(), _convolution(width, image[0], 3), output())

    def forward(self, z: Tensor, *y: Tensor) -> Tensor:
        h = self.start(z)
        for block in self.blocks:
            h = block(h, *y)
        return self.end(self.norm(h, *y))


class Up(nn.Module):
    """G's block: u(x) of 1 x 1, plus norm, relu, u, 3 x 3, norm, relu, 3 x 3; u repeats pixels."""

    def __init__(self, width: int, size: Size, classes: int) -> None:
        super().__init__()
        self.size = size
        self.norms = nn.ModuleList(_norm(width, classes) for _ in range(2))
        self.first, self.second = (_convolution(width, width, 3, 2**0.5) for _ in range(2))
        self.skip = _convolution(width, width, 1)

    def forward(self, x: Tensor, *y: Tensor) -> Tensor:
        h = self.first(interpolate(relu(self.norms[0](x, *y)), self.size))
        h = self.second(relu(self.norms[1](h, *y)))
        return h + interpolate(self.skip(x), self.size)


class Flat(nn.Module):
    """D's block without resampling: 1 x 1 of x, plus relu, 3 x 3, relu, 3 x 3."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = _convolution(before, after, 3, 2**0.5)
        self.second = _convolution(after, after, 3, 2**0.5)
        self.skip = _convolution(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.second(relu(self.first(relu(x))))


class Down(Flat):
    """D's block, its result averaged over 2 x 2 pixels; odd sides end in smaller means."""

    def forward(self, x: Tensor) -> Tensor:
        return _halved(super().forward(x))


class First(Flat):
    """D's first block, of the image itself: without the first relu, which would hide what is dark."""

    def forward(self, x: Tensor) -> Tensor:
        return _halved(self.second(relu(self.first(x)))) + self.skip(_halved(x))


class SumPool(nn.Module):
    """``[N, C, H, W] -> [N, C]``"""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


def _halved(x: Tensor) -> Tensor:
    return avg_pool2d(x, 2, ceil_mode=True)


def _norm(width: int, classes: int) -> nn.Module:
    return ConditionalBatchNorm(width, classes) if classes else nn.BatchNorm2d(width)


def _convolution(before: int, after: int, kernel: int, gain: float = 1.0) -> nn.Conv2d:
    return _xavier(nn.Conv2d(before, after, kernel, padding=kernel // 2), gain)


def _xavier(layer: M, gain: float = 1.0) -> M:
    nn.init.xavier_uniform_(layer.get_parameter("weight"), gain)
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer
