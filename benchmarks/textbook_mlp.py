"""The first GAN that tutorials teach, on MNIST, as a person gets it who copies it.

    python benchmarks/textbook_mlp.py [--iterations 938] [--out images]

Networks and settings are those of gan.py in eriklindernoren/PyTorch-GAN: batches of 64, 100 numbers of noise,
Adam at 2e-4 with betas 0.5 and 0.999, BCELoss on a sigmoid, a DataLoader that resizes every image every time,
both losses printed at every iteration, 25 samples drawn at every 400th. The code is our own. `speed` times it
beside the same game played by ``zerosum train``, and lends its loop to other networks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from textbook import LATENT, Digits
from textbook_networks import mlp_discriminator, mlp_generator
from zerosum.data.codec import Pixels
from zerosum.pictures import tiles


def turns(
    G: nn.Module, D: nn.Module, batches: Iterable[tuple[Tensor, Any]], latent: int = LATENT
) -> Iterator[tuple[float, float, Tensor]]:
    """The loop itself: the losses of D and of G, and what G made, iteration by iteration.

    D: x -> probabilities ``[N]``.
    """
    loss = nn.BCELoss()
    g_optimizer = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.5, 0.999))
    d_optimizer = torch.optim.Adam(D.parameters(), lr=2e-4, betas=(0.5, 0.999))
    for real, _ in batches:
        valid, fake = torch.ones(len(real)), torch.zeros(len(real))

        g_optimizer.zero_grad()
        made = G(torch.randn(len(real), latent))
        g_loss = loss(D(made), valid)
        g_loss.backward()
        g_optimizer.step()

        d_optimizer.zero_grad()
        d_loss = (loss(D(real), valid) + loss(D(made.detach()), fake)) / 2
        d_loss.backward()
        d_optimizer.step()

        yield d_loss.item(), g_loss.item(), made.detach()


def digits(size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch of MNIST, by a DataLoader as tutorials make it."""
    loader = DataLoader(Digits(size), batch_size=64, shuffle=True)
    return chain.from_iterable(repeat(loader))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=938, help="938 are an epoch")
    parser.add_argument("--out", type=Path, default=Path("images"), help="directory of the samples")
    known = parser.parse_args()
    known.out.mkdir(parents=True, exist_ok=True)
    G = mlp_generator((LATENT,), (1, 28, 28))
    D = nn.Sequential(mlp_discriminator((1, 28, 28), ()), nn.Sigmoid())
    for i, (d_loss, g_loss, made) in enumerate(islice(turns(G, D, digits(28)), known.iterations)):
        print(f"[Batch {i}/{known.iterations}] [D loss: {d_loss:f}] [G loss: {g_loss:f}]")
        if i % 400 == 0:
            tiles(Pixels(tuple(made.shape[1:])).view(made[:25]).numpy(), 5).save(known.out / f"{i}.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
