"""Sampling: what a trained generator makes, as one chooses: of which classes, how far from the middle of the
prior, on the way from one sample to another, beside its nearest training examples, and in any form of
file ::

    G = zerosum.load("runs/mine")  # a `Generator`: G(z), G.sample(64)
    sampler = Sampler(G, seed=1, truncation=1.0)
    for x, y in sampler.parts(1_000_000):  # never more than a part in memory
        ...
"""

from zerosum.sampling.files import FORMS, write
from zerosum.sampling.generator import Generator
from zerosum.sampling.neighbours import Neighbours, neighbours
from zerosum.sampling.prior import SamplingError, lerp, slerp, truncated
from zerosum.sampling.sampler import Sampler

__all__ = [
    "FORMS",
    "Generator",
    "Neighbours",
    "Sampler",
    "SamplingError",
    "lerp",
    "neighbours",
    "slerp",
    "truncated",
    "write",
]
