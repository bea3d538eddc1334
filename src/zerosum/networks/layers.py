"""Layers that networks are made of and torch lacks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot
from torch.nn.utils import parametrize

__all__ = ["Gain", "Maxout", "spectral_norm"]


class Gain(nn.Module):
    """g x: makes small differences of the input large enough for torch's initial weights to see."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x


class Maxout(nn.Module):
    """h_i = max_j (W_ij x + b_ij), the maximum over `pieces` linear maps (Goodfellow et al. 2013, section 2).

    ``[N, inputs] -> [N, units]``
    """

    def __init__(self, inputs: int, units: int, pieces: int = 5) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(-1, (-1, self.pieces)).amax(-1)


class _SpectralNorm(nn.Module):
    """W / sigma(W), sigma estimated by power iteration; every operation is out of place but the last copy.

    torch's own parametrization normalises in place, which `torch.func.vmap` cannot batch.
    """

    u: Tensor

    def __init__(self, weight: Tensor, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        matrix = weight.flatten(1)
        largest = matrix.norm(dim=1).argmax()  # a start that the matrix cannot send to zero
        self.register_buffer("u", one_hot(largest, len(matrix)).to(weight))
        self.u.copy_(self._iterate(matrix, 20)[0])

    def _iterate(self, matrix: Tensor, times: int) -> tuple[Tensor, Tensor]:
        u = normalize(self.u, dim=0)  # in an averaged network, u is a mean of unit vectors
        v = normalize(matrix.T @ u, dim=0)
        for _ in range(times):
            u = normalize(matrix @ v, dim=0)
            v = normalize(matrix.T @ u, dim=0)
        return u, v

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        with torch.no_grad():
            u, v = self._iterate(matrix, self.iterations if self.training else 0)
            if self.training:
                self.u.copy_(u)
        return weight / torch.dot(u, matrix @ v)


def spectral_norm(layer: nn.Module, iterations: int = 1) -> nn.Module:
    """The layer with its weight divided by its largest singular value (Miyato et al. 2018, equation 8).

    Returns the same layer. The weight ``[out, ...]`` is taken as a matrix ``[out, rest]``; `iterations`
    steps of the power method a forward pass in training, none in evaluation. Works under `torch.func.vmap`
    with stacked buffers.
    """
    weight = layer.get_parameter("weight").detach()
    return parametrize.register_parametrization(layer, "weight", _SpectralNorm(weight, iterations))
