"""The networks of the tutorials, as both sides of `speed.py` play them: logits out, shapes in.

A recipe names them as ``textbook_networks:mlp_generator``, with PYTHONPATH=benchmarks. The MLPs are those of
gan.py in eriklindernoren/PyTorch-GAN, the convolutions those of `textbook`, whose D ends with a sigmoid that
a game has no use for. The tutorials put it back.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import nn

import textbook

Shape = tuple[int, ...]


def mlp_generator(inputs: Shape, outputs: Shape) -> nn.Module:
    """z ``[N, latent]`` -> x ``[N, *outputs]``; the 0.8 is epsilon, as it is in the tutorial."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise((*inputs, 128, 256, 512, 1024))):
        norm = [nn.BatchNorm1d(after, 0.8)] if i else []
        layers += [nn.Linear(before, after), *norm, nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Linear(1024, prod(outputs)), nn.Tanh(), nn.Unflatten(1, outputs))


def mlp_discriminator(inputs: Shape, outputs: Shape) -> nn.Module:
    """x ``[N, *inputs]`` -> logits ``[N]``"""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise((prod(inputs), 512, 256)):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Linear(256, 1), nn.Flatten(0))


def dcgan_generator(inputs: Shape, outputs: Shape) -> nn.Module:
    """z ``[N, 100]`` -> x ``[N, 1, 32, 32]``"""
    return textbook.Generator().apply(textbook.initial)


def dcgan_discriminator(inputs: Shape, outputs: Shape) -> nn.Module:
    """x ``[N, 1, 32, 32]`` -> logits ``[N]``"""
    return Logits().apply(textbook.initial)


class Logits(textbook.Discriminator):
    """The discriminator of the tutorial, without its sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Sequential(self.last[0], nn.Flatten(0))
