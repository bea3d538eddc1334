"""Packing: D judges m examples at once, and so sees from one pack whether they are too much alike.

Lin et al. (2018), PacGAN: D tells m independent real examples from m independent fakes. A generator that
misses part of p_data is easier to tell apart so, and the more the larger m is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["packed"]

Shape = tuple[int, ...]


class Packed(nn.Module):
    """``[N, C, ...] -> [N / m, m C, ...]``, the network, and each pack's logit for each of its m examples."""

    mixes_examples = True

    def __init__(self, network: nn.Module, m: int) -> None:
        super().__init__()
        self.network = network
        self.m = m

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        if n % self.m and self.training:
            raise ValueError(f"{n} examples do not make packs of {self.m}: choose a multiple as batch")
        if n % self.m:
            x = x[torch.arange(n + -n % self.m, device=x.device) % n]
        packs = x.unflatten(0, (-1, self.m)).flatten(1, 2)
        return self.network(packs).repeat_interleave(self.m)[:n]


def packed(
    inputs: Shape, outputs: Shape, classes: int = 0, *, network: Callable[..., nn.Module], m: int = 2
) -> Packed:
    """A discriminator of packs of `m` examples that follow each other, joined along their first axis.

    network: a function (inputs, outputs) -> D, such as `mlp`; it is asked for inputs (m C, ...).

    Each of the N examples gets the logit of its pack, so that a mean over examples is the mean over packs.
    In evaluation N may be any number: the last pack is filled with the first examples again, whose second
    logits are dropped. In training m must divide N.

    R1 and R2 come out m times those of the packs. The penalty takes the slope of the sum of all logits, in
    which a pack's logit a(P) stands m times: m grad_i a(P) at its i-th example. The mean over N examples of
    m^2 |grad_i a|^2 / 2 is then m times the mean over N / m packs of |grad a(P)|^2 / 2. Divide the weight by
    m to compare.

    Raises ValueError for classes > 0 (a pack has no one label), for m < 1, and in training where m does not
    divide N.

    >>> from zerosum.networks.mlp import mlp
    >>> D = packed((2,), (), network=mlp, m=3)
    >>> logits = D(torch.randn(6, 2))
    >>> logits.shape, logits[:3].eq(logits[0]).all().item()
    (torch.Size([6]), True)
    """
    if classes:
        raise ValueError(f"a pack of examples has no one label: play packed with classes = 0, not {classes}")
    if m < 1:
        raise ValueError(f"packed: m = {m} examples to a pack must be >= 1")
    return Packed(network(inputs=(m * inputs[0], *inputs[1:]), outputs=outputs), m)
