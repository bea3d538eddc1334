"""DCGAN (Radford, Metz & Chintala 2015): strided convolutions, batch norm, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod

import torch
from torch import nn

from zerosum.networks.images import (
    Crop,
    Discriminator,
    Even,
    Generator,
    M,
    Shape,
    makes_images,
    scaled,
    sizes,
)
from zerosum.networks.layers import MinibatchStd

__all__ = ["dcgan"]

Norm = Callable[[int], nn.Module]


def dcgan(
    inputs: Shape,
    outputs: Shape,
    classes: int = 0,
    width: int = 64,
    norm: Norm | None = nn.BatchNorm2d,
    output: Callable[[], nn.Module] = nn.Tanh,
    minibatch_std: bool = False,
) -> Generator | Discriminator:
    """G, (latent,) -> (C, H, W), or D, (C, H, W) -> (), of 4 x 4 convolutions that double or halve the size.

    H, W: 8 or more, equal or not, even or odd (`zerosum.networks.images` has the rule). At 64 x 64 it is
    the published network.
    classes: with labels, G is given an embedding of y beside z, and D is a projection discriminator.
    width: channels at half the size of the image, doubled at each further halving up to 8 x width.
    norm: a constructor given the channels, after every layer but G's last and D's first; None for a D with a
    gradient penalty. Weights start from N(0, 0.02^2) with a norm, and from He's N(0, 2 / fan in) without,
    where nothing else would keep the scale.
    output: G's last activation. minibatch_std: `MinibatchStd` before D's last convolution.

    >>> G, D = dcgan((64,), (1, 28, 28)), dcgan((1, 28, 28), (), norm=None)
    >>> D(G(torch.randn(5, 64))).shape
    torch.Size([5])
    """
    if makes_images(inputs, outputs):
        return _initialised(_generator(inputs[0], outputs, classes, width, norm, output), norm)
    return _initialised(_discriminator(inputs, classes, width, norm, minibatch_std), norm)


def _widths(image: Shape, width: int) -> list[int]:
    """Channels at each size but the image's own, from the smallest size on."""
    halvings = len(sizes(*image[1:])) - 1
    return [width * min(2**i, 8) for i in reversed(range(halvings))]


def _generator(
    latent: int, image: Shape, classes: int, width: int, norm: Norm | None, output: Callable[[], nn.Module]
) -> Generator:
    start, *grown = sizes(*image[1:])
    widths = [*_widths(image, width), image[0]]
    inputs = 2 * latent if classes else latent
    first = nn.Linear(inputs, widths[0] * prod(start), bias=norm is None)
    layers: list[nn.Module] = [first, nn.Unflatten(1, (widths[0], *start))]
    for (before, after), size in zip(pairwise(widths), grown, strict=True):
        biased = norm is None or size == grown[-1]  # a norm would take a bias away
        layers += [*([norm(before)] if norm else []), nn.ReLU()]
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=biased), Crop(size)]
    return Generator(classes, latent, *layers, output())


def _discriminator(
    image: Shape, classes: int, width: int, norm: Norm | None, minibatch_std: bool
) -> Discriminator:
    smallest = sizes(*image[1:])[0]
    widths = [image[0], *reversed(_widths(image, width))]
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        mixed = minibatch_std and i == len(widths) - 2
        layers += [Even(), *([MinibatchStd()] if mixed else [])]
        normal = [norm(after)] if norm and i else []
        layers += [nn.Conv2d(before + mixed, after, 4, 2, 1, bias=not normal), *normal, nn.LeakyReLU(0.2)]
    return Discriminator(classes, widths[-1] * prod(smallest), *layers, nn.Flatten())


@torch.no_grad()
def _initialised(network: M, norm: Norm | None) -> M:
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            scaled(layer, 2**0.5)
            if norm:
                layer.weight.normal_(0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
            layer.weight.normal_(1, 0.02)
    return network
