"""Plain convolutional networks for a processor: nothing is computed at the full size of the image.

What a DCGAN does at full size, with few channels, costs most of its time and uses little of the processor.
Here G's last convolution makes the four pixels of each 2 x 2 patch as channels, D's first strides over them,
and the time goes into 3 x 3 convolutions between wide layers at the smaller sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from zerosum.networks.images import Crop, Discriminator, Even, Generator, Shape, makes_images, sizes
from zerosum.networks.layers import MinibatchStd

__all__ = ["compact"]


def compact(
    inputs: Shape,
    outputs: Shape,
    classes: int = 0,
    width: int = 32,
    output: Callable[[], nn.Module] = nn.Tanh,
    minibatch_std: bool = False,
) -> Generator | Discriminator:
    """G, (latent,) -> (C, H, W), or D, (C, H, W) -> (), of one 3 x 3 convolution or two for each size.

    H, W: 8 or more, equal or not, even or odd (`zerosum.networks.images` has the rule).
    classes: with labels, G is given an embedding of y beside z, and D is a projection discriminator.
    width: D's channels at half the size of the image, doubled at each halving up to 8 x width, and once more
    by its last convolution; G has twice as many at each size. output: G's last activation. minibatch_std: D
    gets `MinibatchStd` before its last convolution.

    G has batch norm and weights as torch starts them; D has neither norm nor anything else that mixes
    examples, and wants a gradient penalty.

    >>> G, D = compact((64,), (1, 28, 28)), compact((1, 28, 28), ())
    >>> D(G(torch.randn(5, 64))).shape
    torch.Size([5])
    """
    if makes_images(inputs, outputs):
        return _generator(inputs[0], outputs, classes, 2 * width, output)
    return _discriminator(inputs, classes, width, minibatch_std)


def _widths(image: Shape, width: int) -> list[int]:
    """Channels at each size but the image's own, from the smallest size on."""
    halvings = len(sizes(*image[1:])) - 1
    return [width * min(2**i, 8) for i in reversed(range(halvings))]


def _generator(
    latent: int, image: Shape, classes: int, width: int, output: Callable[[], nn.Module]
) -> Generator:
    *smaller, whole = sizes(*image[1:])
    widths = _widths(image, width)
    inputs, start = (2 * latent if classes else latent), smaller[0]
    layers: list[nn.Module] = [nn.Linear(inputs, widths[0] * prod(start), bias=False), Unflatten(*start)]
    layers += [nn.BatchNorm2d(widths[0]), nn.LeakyReLU(0.2)]
    for (before, after), size in zip(pairwise(widths), smaller[1:], strict=True):
        layers += [*_normal(before, after), nn.Upsample(scale_factor=2), Crop(size)]
    layers += [*_normal(widths[-1], widths[-1]), nn.Conv2d(widths[-1], 4 * image[0], 3, padding=1)]
    return Generator(classes, latent, *layers, nn.PixelShuffle(2), Crop(whole), output())


def _normal(before: int, after: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)  # the norm would take a bias away
    return [convolution, nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]


def _discriminator(image: Shape, classes: int, width: int, minibatch_std: bool) -> Discriminator:
    widths = [image[0], *reversed(_widths(image, width))]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [Even(), nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)]
    last = 2 * widths[-1]
    layers += [MinibatchStd()] if minibatch_std else []
    layers += [nn.Conv2d(widths[-1] + minibatch_std, last, 3, padding=1), nn.LeakyReLU(0.2), Flatten()]
    return Discriminator(classes, last * prod(sizes(*image[1:])[0]), *layers)


class Unflatten(nn.Module):
    """``[N, H W channels] -> [N, channels, H, W]``, channels last in memory, as convolutions want it."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.height, self.width, -1)).permute(0, 3, 1, 2)


class Flatten(nn.Module):
    """``[N, channels, H, W] -> [N, H W channels]``: a view of what lies channels last, as its gradient is."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)
