"""The DCGAN loop that tutorials teach, timed: what a person gets who copies it.

    python benchmarks/textbook.py [--minutes 10] [--seed 0] [--out benchmarks/results/textbook.json]

The network and the settings are those of the most copied public script (eriklindernoren/PyTorch-GAN,
dcgan.py): 32 pixels, batches of 64, 100 numbers of noise, Adam at 2e-4 with betas 0.5 and 0.999, BCELoss on a
sigmoid, batch norm whose second argument 0.8 is its epsilon, dropout of 0.25 in D, a DataLoader that resizes
every image every time. The code is our own. The clock runs from the first step and stands still while
weights are put aside, once a minute; afterwards `mnist_quality` measures the generator of each minute.

The tutorial never calls `eval()`, so its samples are made in training mode, 64 at a time; for the last of
them evaluation mode is measured too.
"""

from __future__ import annotations

import argparse
import os
import time
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import ledger
from mnist_quality import quality
from zerosum import data
from zerosum.data.codec import Pixels

LATENT = 100


class Digits(Dataset[tuple[Tensor, int]]):
    """MNIST as tutorials read it: a picture at a time, resized by PIL, made a tensor, normalised."""

    def __init__(self, size: int = 32) -> None:
        source = data.mnist("train")
        self.pictures, self.labels, self.size = source.pixels[:][:, 0].numpy(), source.labels, size

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.pictures[i]).resize((self.size, self.size), Image.Resampling.BILINEAR)
        x = torch.from_numpy(np.array(picture)).unsqueeze(0).float() / 255
        return (x - 0.5) / 0.5, int(self.labels[i]) if self.labels is not None else 0


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(LATENT, 128 * 8 * 8)
        self.blocks = nn.Sequential(
            nn.BatchNorm2d(128),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.BatchNorm2d(128, 0.8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.BatchNorm2d(64, 0.8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(64, 1, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.blocks(self.first(z).view(len(z), 128, 8, 8))


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, 16), (16, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Dropout2d(0.25)]
            layers += [nn.BatchNorm2d(after, 0.8)] if before > 1 else []
        self.blocks = nn.Sequential(*layers)
        self.last = nn.Sequential(nn.Linear(128 * 2 * 2, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(x).flatten(1))


def initial(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)


def train(minutes: float, seed: int) -> list[tuple[float, int, nn.Module]]:
    """(seconds, iterations, generator) at the end of each minute."""
    torch.manual_seed(seed)
    G, D = Generator().apply(initial), Discriminator().apply(initial)
    loss = nn.BCELoss()
    loader = DataLoader(Digits(), batch_size=64, shuffle=True)
    g_optimizer = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.5, 0.999))
    d_optimizer = torch.optim.Adam(D.parameters(), lr=2e-4, betas=(0.5, 0.999))
    kept: list[tuple[float, int, nn.Module]] = []
    iterations, begun = 0, time.monotonic()
    while True:
        for real, _ in loader:
            valid, fake = torch.ones(len(real), 1), torch.zeros(len(real), 1)

            g_optimizer.zero_grad()
            made = G(torch.randn(len(real), LATENT))
            g_loss = loss(D(made), valid)
            g_loss.backward()
            g_optimizer.step()

            d_optimizer.zero_grad()
            d_loss = (loss(D(real), valid) + loss(D(made.detach()), fake)) / 2
            d_loss.backward()
            d_optimizer.step()

            iterations += 1
            now = time.monotonic()
            if now - begun >= 60 * min(len(kept) + 1, minutes):
                print(
                    f"{now - begun:6.0f} s {iterations:6d} d {d_loss.item():.3f} g {g_loss.item():.3f}",
                    flush=True,
                )
                kept.append((now - begun, iterations, deepcopy(G)))
                begun += time.monotonic() - now
                if now - begun >= 60 * minutes - 1:
                    return kept


@torch.no_grad()
def samples(G: nn.Module, n: int, seed: int, training: bool) -> Tensor:
    """uint8 [n, 32, 32], made 64 at a time as the tutorial makes them."""
    G.train(training)
    draw = torch.Generator().manual_seed(seed)
    parts = [G(torch.randn(64, LATENT, generator=draw)) for _ in range(-(-n // 64))]
    x = torch.cat(parts)[:n]
    return Pixels(tuple(x.shape[1:])).view(x)[:, 0]


def measured(kept: tuple[float, int, nn.Module], training: bool = True) -> dict[str, Any]:
    seconds, iterations, G = kept
    row = {"seconds": round(seconds, 1), "iterations": iterations, **quality(samples(G, 10_000, 1, training))}
    print(row, flush=True)
    return row


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)


def measure(args: argparse.Namespace) -> None:
    load = os.getloadavg()
    kept = train(args.minutes, args.seed)
    result = {
        "seed": args.seed,
        "machine": ledger.machine(),
        "load_before": load,
        "load_after": os.getloadavg(),
        "minutes": [measured(one) for one in kept],
        "evaluation_mode": measured(kept[-1], training=False),
    }
    ledger.write(ledger.RESULTS / "textbook.json", result)


BENCHMARK = ledger.Benchmark(__doc__, measure, options)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
