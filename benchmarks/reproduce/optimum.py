"""How near a practical game comes to the theorem: V = -log 4 and D = 1/2 at p_g = p_data, in numbers.

    python benchmarks/reproduce/optimum.py                         play and measure all: some minutes
    python benchmarks/reproduce/optimum.py --only "line, *"        these; the others stay

Two modes on the line, where p_g is known exactly (change of variables, quadrature), and four in the plane,
where it is estimated from samples (`theory.by_kernel_density`, whose error is told). Ten seeds play as one
computation. On the line one factor at a time is changed, to see which keeps the game from the optimum:
how much the players can express, how much noise a batch has, how long and how calmly they play.

V is of the players as they stand. JSD is of the generator that is sampled, the averaged one; half of V +
log 4 is the bound on it that D gives of the other one. The distance of D from 1/2 is the largest where p_data
is at least a hundredth of its peak. Intervals are Student's, of the mean over seeds.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import partial
from math import log
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ledger
from zerosum import data, networks, objectives, optimizers, penalties, theory
from zerosum.game import Ensemble, Game
from zerosum.metrics.estimate import student
from zerosum.randomness import key, stream
from zerosum.run import runtime
from zerosum.schedules import ramp

RESULT = ledger.RESULTS / "reproduce_optimum.json"
SEEDS = range(300, 310)
FINE, LOOSE = (partial(theory.quadrature, tolerance=t, budget=2**14) for t in (1e-4, 1e-3))


@dataclass(frozen=True)
class Setting:
    """A game, with what may keep it from the optimum."""

    plane: bool = False
    width: int = 64
    batch: int = 256
    turns: int = 3_000
    cooled: bool = True
    averaged: bool = True
    k: int = 1
    r1: float = 0.02

    def density(self) -> data.GaussianMixture:
        return data.ring(4, std=0.35) if self.plane else data.mixture([-1.5, 1.5], std=0.5)

    def game(self, seed: int) -> Game:
        d = 2 if self.plane else 1
        torch.manual_seed(key(seed, "init"))
        adam = optimizers.adam(2e-3, betas=(0.0, 0.99))
        falling = ramp(2e-3, 1e-5, steps=self.turns, shape="cosine")
        player = optimizers.scheduled(adam, lr=falling) if self.cooled else adam
        return Game(
            networks.mlp((d,), (d,), self.width, 2, nn.SiLU),
            networks.mlp((d,), (), self.width, 2, nn.SiLU),
            objectives.nonsaturating(),
            [penalties.r1(self.r1)],
            latent=d,
            optimizers=(player, player),
            batch=self.batch,
            k=self.k,
            ema=0.999 if self.averaged else None,
            seed=seed,
        )


LINE = Setting()
SETTINGS = {
    "line, as it is": LINE,
    "line, players 2 x as wide": replace(LINE, width=128),
    "line, players of 8 units": replace(LINE, width=8),
    "line, batch 1,024": replace(LINE, batch=1_024),
    "line, batch 32": replace(LINE, batch=32),
    "line, k = 5": replace(LINE, k=5),
    "line, R1 10 x as heavy": replace(LINE, r1=0.2),
    "line, 2 x the turns": replace(LINE, turns=6_000),
    "line, rates that do not fall": replace(LINE, cooled=False),
    "line, rates that do not fall, no average": replace(LINE, cooled=False, averaged=False),
    "plane, as it is": Setting(plane=True),
}


def played(setting: Setting) -> list[Game]:
    games = [setting.game(seed) for seed in SEEDS]
    sources = [replace(setting.density(), seed=seed) for seed in SEEDS]
    for _ in Ensemble(games).play(sources, setting.turns):
        pass
    return games


def on_the_line(p: theory.Density, game: Game) -> dict[str, float]:
    now = theory.pushforward(game.G.network, theory.NormalPrior(1))
    sampled = theory.pushforward(game.G.average or game.G.network, theory.NormalPrior(1))
    found = theory.jsd(p, sampled, by=FINE)
    return {
        "value": theory.value(game.D.network, p, now, by=FINE).value + log(4),
        "jsd": found.value,
        "error of jsd": found.error,
        "from half": from_half(p, game, torch.linspace(-6, 6, 4_001, dtype=torch.float64)[:, None]),
    }


def in_the_plane(p: theory.Density, game: Game) -> dict[str, float]:
    points = game.sample(1_500, seed=1).double()
    found = theory.by_kernel_density(lambda q: theory.jsd(p, q, by=LOOSE), points)
    with torch.no_grad():
        n = 200_000
        real, fake = p.sample(n, stream(2, "V")), game.G.network(torch.randn(n, 2, generator=stream(3, "V")))
        D = game.D.network
        V = nn.functional.logsigmoid(D(real.float())).mean() + nn.functional.logsigmoid(-D(fake)).mean()
    axis = torch.linspace(-3, 3, 301, dtype=torch.float64)
    return {
        "value": float(V) + log(4),
        "jsd": found.value,
        "error of jsd": found.error,
        "from half": from_half(p, game, torch.cartesian_prod(axis, axis)),
    }


def from_half(p: theory.Density, game: Game, x: torch.Tensor) -> float:
    """The largest |D(x) - 1/2| where p_data is at least a hundredth of its peak."""
    log_p = p.log_prob(x)
    with torch.no_grad():
        D = torch.sigmoid(game.D.network(x[log_p > log_p.max() - log(100)].float()))
    return float((D - 0.5).abs().max())


def measure(args: Namespace) -> None:
    runtime.keep_memory()
    result = ledger.read(RESULT, {"settings": {}})
    for name, setting in SETTINGS.items():
        if not fnmatch(name, args.only):
            continue
        p, judge = setting.density(), in_the_plane if setting.plane else on_the_line
        rows = [judge(p, game) for game in played(setting)]
        rows = [{what: round(x, 7) for what, x in row.items()} for row in rows]
        result["settings"][name] = {"turns": setting.turns, "seeds": rows}
        ledger.write(RESULT, {**ledger.origin(), "first seed": SEEDS[0], **result})
        print(name, {what: summary(rows, what) for what in rows[0]}, flush=True)


def summary(rows: list[dict[str, float]], what: str) -> str:
    values = [row[what] for row in rows]
    mean = fmean(values)
    low, high = student(mean, stdev(values) / len(values) ** 0.5, len(values))
    return f"{mean:.4f} [{low:.4f}, {high:.4f}]"


def optimum() -> str:
    rows: list[list[Any]] = []
    for name, found in ledger.read(RESULT)["settings"].items():
        seeds = found["seeds"]
        shown = [summary(seeds, what) for what in ("value", "jsd", "from half")]
        worst = max(row["error of jsd"] for row in seeds)
        shown[1] += f" (error of one: up to {worst:.4f})"
        rows.append([name, f"{found['turns']:,}", *shown])
    return ledger.table(["game", "turns", "V + log 4", "JSD, nats", "most of abs(D - 1/2)"], rows)


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--only", default="*", metavar="PATTERN")


BENCHMARK = ledger.Benchmark(__doc__, measure, options, parts={"optimum": optimum})

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
