"""Networks of fully connected layers: the generators and discriminators of 2014, and of every toy since."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from zerosum.networks.layers import Gain, Maxout, spectral_norm

__all__ = ["maxout", "mlp", "residual_mlp"]

Shape = tuple[int, ...]
Layer = Callable[[], nn.Module]


class Dense(nn.Module):
    """``[N, *inputs] -> [N, *outputs]`` by layers on flat vectors; outputs = () gives logits ``[N]``.

    With classes > 0 it is called (x, y), and y ``[N]`` follows x as a one-hot vector (Mirza & Osindero 2014).
    """

    def __init__(self, layers: list[nn.Module], outputs: Shape, classes: int = 0) -> None:
        super().__init__()
        self.entry = OneHot(classes) if classes else nn.Flatten()
        self.layers = nn.Sequential(*layers)
        self.outputs = outputs

    def forward(self, x: Tensor, *y: Tensor) -> Tensor:
        return self.layers(self.entry(x, *y)).reshape(x.shape[0], *self.outputs)

    @torch.no_grad()
    def centre(self, mean: Tensor) -> None:
        """Set the bias of the last linear layer so that the output starts at the data's mean, ``[*outputs]``.

        Pylearn2 calls it init_sigmoid_bias_from_marginals. The inverse of the output's activation is found
        by bisection, so that any monotone activation does; a mean at the edge of its range is reached as
        nearly as a bias of 10 can.
        """
        layers = list(self.layers)
        *_, (last, linear) = ((i, layer) for i, layer in enumerate(layers) if isinstance(layer, nn.Linear))
        squash = nn.Sequential(*layers[last + 1 :])
        target = mean.flatten().to(linear.bias)
        low, high = torch.full_like(target, -10.0), torch.full_like(target, 10.0)
        for _ in range(60):
            middle = (low + high) / 2
            below = squash(middle) < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        linear.bias.copy_((low + high) / 2)


class OneHot(nn.Module):
    """(x ``[N, *inputs]``, y ``[N]``) -> ``[N, inputs + classes]``"""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x.flatten(1), one_hot(y, self.classes).to(x.dtype)], 1)


def mlp(
    inputs: Shape,
    outputs: Shape,
    width: int = 256,
    depth: int = 3,
    activation: Layer = nn.ReLU,
    output: Layer = nn.Identity,
    norm: Callable[[int], nn.Module] | None = None,
    dropout: float = 0.0,
    dropout_in: float = 0.0,
    spectral: bool = False,
    init: float | None = None,
    gain: float = 1.0,
    classes: int = 0,
) -> Dense:
    """`depth` hidden layers of `width` units, then a linear layer and the output activation.

    A hidden layer is linear, norm, activation, dropout.

    inputs, outputs: shapes of one example; outputs = () for a discriminator's logit.
    classes: of labels y, which follow the inputs as one-hot vectors; 0 without.
    activation, output: constructors of a layer, such as `nn.SiLU`.
    norm: a constructor given the width, such as `nn.BatchNorm1d`.
    dropout, dropout_in: shares of the hidden units and of the inputs that are dropped in training.
    spectral: spectral normalisation of every linear layer.
    init: weights uniform on [-init, init] and biases 0, as in 2014; None keeps torch's initialisation.
    gain: factor on the inputs and labels; D sees structure of size s in its data once gain x s is about 0.1.
    """
    widths = [prod(inputs) + classes] + [width] * depth
    layers: list[nn.Module] = [Gain(gain)] if gain != 1 else []
    layers += [nn.Dropout(dropout_in)] if dropout_in else []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), *([norm(after)] if norm else []), activation()]
        layers += [nn.Dropout(dropout)] if dropout else []
    layers += [nn.Linear(widths[-1], prod(outputs)), output()]
    network = _initialised(Dense(layers, outputs, classes), init)
    for layer in layers if spectral else ():
        if isinstance(layer, nn.Linear):
            spectral_norm(layer)
    return network


class Residual(nn.Module):
    """x -> x + f(x)"""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def residual_mlp(
    inputs: Shape,
    outputs: Shape,
    width: int = 256,
    blocks: int = 2,
    classes: int = 0,
) -> Dense:
    """A linear layer to `width` units, `blocks` of x + W a(V a(x)), a leaky ReLU a, and a linear layer.

    The order is that of pre-activation (He et al. 2016). inputs, outputs, classes: As of `mlp`.
    """
    block = [
        Residual(nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, width))
        for _ in range(blocks)
    ]
    first, last = nn.Linear(prod(inputs) + classes, width), nn.Linear(width, prod(outputs))
    return Dense([first, *block, nn.LeakyReLU(0.2), last], outputs, classes)


def maxout(
    inputs: Shape,
    outputs: Shape,
    classes: int = 0,
    units: int = 240,
    pieces: int = 5,
    depth: int = 2,
    dropout: float = 0.5,
    dropout_in: float = 0.2,
    init: float | None = 0.005,
) -> Dense:
    """The discriminator of Goodfellow et al. (2014) for MNIST: maxout layers with dropout, then a logit.

    Dropout is inverted (the units kept are scaled up in training) and stands before every linear map, of
    `dropout_in` on the inputs and `dropout` elsewhere. With classes > 0, labels follow the inputs as one-hot
    vectors. Weights start uniform on [-init, init], biases at 0.
    """
    widths = [prod(inputs) + classes] + [units] * depth
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        layers += [nn.Dropout(dropout if i else dropout_in), Maxout(before, after, pieces)]
    layers += [nn.Dropout(dropout), nn.Linear(widths[-1], prod(outputs)), nn.Identity()]
    return _initialised(Dense(layers, outputs, classes), init)


@torch.no_grad()
def _initialised(network: Dense, init: float | None) -> Dense:
    if init is None:
        return network
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.uniform_(-init, init)
            layer.bias.zero_()
    return network
