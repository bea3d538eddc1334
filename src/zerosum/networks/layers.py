"""Layers that networks are made of and torch lacks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot
from torch.nn.utils import parametrize

__all__ = ["ConditionalBatchNorm", "Gain", "Maxout", "MinibatchStd", "spectral_norm"]


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
        return self.linear(x).unflatten(-1, (self.pieces, -1)).amax(-2)


class ConditionalBatchNorm(nn.Module):
    """gamma_y (x - mean) / std + beta_y: a scale and a shift for each class (Dumoulin et al. 2017, eq. 5).

    (x ``[N, channels, H, W]``, y ``[N]``) -> ``[N, channels, H, W]``. gamma starts from N(1, 0.1^2) and beta
    from N(0, 0.1^2), so that the classes differ from the first step.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gamma = nn.Embedding(classes, channels)
        self.beta = nn.Embedding(classes, channels)
        nn.init.normal_(self.gamma.weight, 1, 0.1)
        nn.init.normal_(self.beta.weight, 0, 0.1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.norm(x)
        gamma, beta = self.gamma(y).to(x.dtype), self.beta(y).to(x.dtype)
        return x * gamma[:, :, None, None] + beta[:, :, None, None]


class MinibatchStd(nn.Module):
    """One more channel: how much the examples of a group differ (Karras et al. 2018, section 3).

    ``[N, C, H, W] -> [N, C + 1, H, W]``; the channel is s_k = mean over (C, H, W) of
    sqrt(var + 1e-8), var the biased variance over the group k of the example. The batch is dealt to
    ceil(N / group) groups as one deals cards, so that a batch of any size does: their sizes differ by one at
    most. In evaluation the channel is the running average of s, and each example is judged on its own.
    """

    mixes_examples = True
    typical: Tensor

    def __init__(self, group: int = 4, momentum: float = 0.1) -> None:
        super().__init__()
        self.group = group
        self.momentum = momentum
        self.register_buffer("typical", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        s = self._spread(x) if self.training else self.typical.to(x.dtype).expand(len(x))
        return torch.cat([x, s[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)

    def _spread(self, x: Tensor) -> Tensor:
        groups = -(-len(x) // self.group)
        member = one_hot(torch.arange(len(x), device=x.device) % groups, groups).T  # [groups, N]
        with torch.autocast(x.device.type, enabled=False):
            h = x.flatten(1).to(self.typical.dtype)
            share = (member / member.sum(1, keepdim=True)).to(h.dtype)
            centred = h - member.T.to(h.dtype) @ (share @ h)
            s = (share @ centred.square() + 1e-8).sqrt().mean(1)
        with torch.no_grad():
            self.typical.lerp_(s.mean().to(self.typical), self.momentum)
        return (member.T.to(h.dtype) @ s).to(x.dtype)


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
        with torch.autocast(weight.device.type, enabled=False):  # sigma in full precision
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
