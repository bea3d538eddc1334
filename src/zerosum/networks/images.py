"""What the networks for images share: which role they play, the sizes they pass through, entries and heads.

Every network here passes through the same sizes. The image is halved, rounding up, until its shorter side is
at most seven: 28 -> 14 -> 7, 32 -> 16 -> 8 -> 4, 25 -> 13 -> 7, (28, 20) -> (14, 10) -> (7, 5). G starts at
the smallest size and doubles, D goes the other way; where a size is odd, G crops what it doubled and D pads.
"""

from __future__ import annotations

from math import prod
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

__all__ = [
    "Concatenate",
    "Crop",
    "Discriminator",
    "Even",
    "Generator",
    "Logit",
    "Projection",
    "makes_images",
    "scaled",
    "sizes",
]

M = TypeVar("M", bound=nn.Module)
Shape = tuple[int, ...]
Size = tuple[int, int]


def makes_images(inputs: Shape, outputs: Shape) -> bool:
    """Whether the shapes are those of a generator, (latent,) to (C, H, W), or a discriminator's, the other
    way to ().

    Raises ValueError where they are neither, or a side is below 8 pixels.
    """
    match inputs, outputs:
        case (_,), (_, height, width):
            generator = True
        case (_, height, width), ():
            generator = False
        case _:
            raise ValueError(
                f"a network for images maps (latent,) to (C, H, W), or (C, H, W) to (): "
                f"got {inputs} to {outputs}; mlp takes all shapes"
            )
    if min(height, width) < 8:
        raise ValueError(
            f"an image of {height} x {width} is too small: both sides must be >= 8; mlp takes all shapes"
        )
    return generator


def sizes(height: int, width: int) -> list[Size]:
    """The sizes from the smallest to the image's own: halved, rounding up, while both sides exceed 7.

    >>> sizes(28, 20)
    [(7, 5), (14, 10), (28, 20)]
    """
    passed = [(height, width)]
    while min(passed[-1]) > 7:
        h, w = passed[-1]
        passed.append(((h + 1) // 2, (w + 1) // 2))
    return passed[::-1]


class Generator(nn.Module):
    """z ``[N, latent]`` (and y ``[N]``) -> x ``[N, C, H, W]``: the entry joins z and y, then layers."""

    def __init__(self, classes: int, latent: int, *layers: nn.Module) -> None:
        super().__init__()
        self.entry = Concatenate(classes, latent) if classes else nn.Identity()
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, *y: Tensor) -> Tensor:
        return self.layers(self.entry(z, *y))


class Discriminator(nn.Module):
    """x ``[N, C, H, W]`` (and y ``[N]``) -> logits ``[N]``: the layers make features, the head judges."""

    def __init__(self, classes: int, features: int, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.head = Projection(features, classes) if classes else Logit(features)

    def forward(self, x: Tensor, *y: Tensor) -> Tensor:
        return self.head(self.layers(x), *y)


class Concatenate(nn.Module):
    """(z ``[N, width]``, y ``[N]``) -> ``[N, 2 width]``: z and a learned vector of the class, as long."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, width)  # N(0, 1), as z is

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.cat([z, self.embed(y)], 1)


class Logit(nn.Module):
    """h ``[N, features]`` -> logits <w, h> + b ``[N]``.

    Multiplied and summed in float32 under autocast too: what tells real from fake is a difference of logits.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = scaled(nn.Linear(features, 1))

    def forward(self, h: Tensor) -> Tensor:
        return (h * self.linear.weight).sum(1) + self.linear.bias


class Projection(nn.Module):
    """(h ``[N, features]``, y ``[N]``) -> logits <w + e_y, h> + b ``[N]`` (Miyato & Koyama 2018, eq. 4)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = scaled(nn.Linear(features, 1))
        self.embed = nn.Embedding(classes, features)
        nn.init.normal_(self.embed.weight, std=features**-0.5)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        return (h * (self.linear.weight + self.embed(y))).sum(1) + self.linear.bias


class Crop(nn.Module):
    """The first H rows and W columns."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.height, self.width = size

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : self.height, : self.width]


class Even(nn.Module):
    """A row and a column of zeros at the end of odd sides, so that halving rounds up."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x


@torch.no_grad()
def scaled(layer: M, gain: float = 1.0) -> M:
    """The layer with weights ~ N(0, gain^2 / fan in) and biases 0: outputs of variance gain^2 E[x^2].

    The fan in is the number of inputs that one output sees; a transposed convolution of stride s has
    1 / s^2 of its kernel at each pixel. Returns the same layer.
    """
    weight = layer.get_parameter("weight")
    if isinstance(layer, nn.ConvTranspose2d):
        fan_in = weight.shape[0] * prod(layer.kernel_size) / prod(layer.stride)
    else:
        fan_in = weight[0].numel()
    weight.normal_(0, gain / fan_in**0.5)
    bias = getattr(layer, "bias", None)
    if bias is not None:
        bias.zero_()
    return layer
