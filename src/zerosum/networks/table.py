"""Generators of rows: numbers as a network gives them, and categories drawn as one-hot vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zerosum.networks.mlp import residual_mlp

__all__ = ["Heads", "table_mlp"]

Shape = tuple[int, ...]
Groups = tuple[tuple[int, int], ...]


class Heads(nn.Module):
    """z ``[N, latent + noise]`` -> rows ``[N, d]``, in which each group of places is one-hot.

    The place of the one is drawn with the probabilities softmax(a), a the body's logits: the largest of
    a + e, e Gumbel noise. Backwards it is softmax((a + e) / temperature) (straight-through Gumbel-softmax;
    Jang et al. 2017, Maddison et al. 2017), so D never sees anything but what real rows are made of, and the
    rare values of a column are drawn at their share. e is taken from the last `noise` coordinates of z, which
    are standard normal: e = -log(-log Phi(z)), so a row follows from its z alone.

    body: z ``[N, latent]`` (and y) -> ``[N, d]``. groups: (start, width) of each.
    """

    places: Tensor
    inside: Tensor

    def __init__(self, body: nn.Module, groups: Groups, temperature: float = 1.0) -> None:
        super().__init__()
        self.body, self.groups, self.temperature = body, groups, temperature
        self.noise = sum(width for _, width in groups)
        widest = max((width for _, width in groups), default=0)
        places = [[start + min(i, width - 1) for i in range(widest)] for start, width in groups]
        inside = [[i < width for i in range(widest)] for _, width in groups]
        self.register_buffer("inside", torch.tensor(inside, dtype=torch.bool), persistent=False)
        self.register_buffer(
            "places", torch.tensor(places)[self.inside] if groups else None, persistent=False
        )

    def forward(self, z: Tensor, *y: Tensor) -> Tensor:
        if not self.noise:
            return self.body(z, *y)
        latent = z.shape[1] - self.noise
        x = self.body(z[:, :latent], *y)
        gumbel = -(-torch.special.log_ndtr(z[:, latent:].float())).log()
        if not torch.is_grad_enabled():
            return self._drawn(x, gumbel.to(x.dtype))
        scores = x.new_full((len(z), *self.inside.shape), -torch.inf)
        scores[:, self.inside] = x[:, self.places] + gumbel.to(x.dtype)
        soft = (scores / self.temperature).softmax(2)
        hard = torch.zeros_like(soft).scatter_(2, scores.argmax(2, keepdim=True), 1.0)
        drawn = (hard + (soft - soft.detach()))[:, self.inside]
        return x.index_copy(1, self.places, drawn)

    def _drawn(self, x: Tensor, gumbel: Tensor) -> Tensor:
        """The same rows where no gradient is wanted, which is quicker."""
        scores = (x.index_select(1, self.places) + gumbel).split([width for _, width in self.groups], dim=1)
        at = [part.argmax(1) + start for part, (start, _) in zip(scores, self.groups, strict=True)]
        return x.index_fill(1, self.places, 0.0).scatter(1, torch.stack(at, dim=1), 1.0)


def table_mlp(
    inputs: Shape,
    outputs: Shape,
    groups: Groups = (),
    width: int = 256,
    blocks: int = 2,
    temperature: float = 1.0,
    classes: int = 0,
) -> Heads:
    """A generator of rows: `residual_mlp` with `Heads`.

    inputs, outputs, width, blocks, classes: As of `residual_mlp`. groups: (start, width) of the one-hots of a
    row, which the data say. temperature: of the gradient through a draw.
    """
    return Heads(residual_mlp(inputs, outputs, width, blocks, classes=classes), tuple(groups), temperature)
