"""How near a practical game comes to the theorem: V = -log 4 and D = 1/2 at p_g = p_data, in numbers.

    python benchmarks/reproduce/optimum.py                   play and measure what has not been: half an hour
    python benchmarks/reproduce/optimum.py --only "line, *"  of these; "plane, *": the others

Two modes on the line, where p_g is known exactly (change of variables, quadrature), and four in the plane,
where it is counted over squares of side 0.05. Ten seeds play as one computation; settings were tried on
others (20 to 23). One factor at a time is changed, to see which keeps the game from the optimum:
how long and how calmly it plays, how near D is to its best answer, how much the players can express, how
smooth D must be, how much noise a batch has.

V and the JSD of G are of the players as they stand: half of V + log 4 is the part of that JSD that D sees,
and D at its best would see all of it. Samples are drawn of the averaged G, whose JSD stands beside. The
Wasserstein distance is of a million sorted samples of that average: how far mass must be moved. Folds are
the points of -4 < z < 4 where it turns back. The distance of D from 1/2 is the largest where p_data is at
least a hundredth of its peak. Intervals are Student's, of the mean over seeds, and Welch's of the difference
of two means.
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
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.distance import jensenshannon
from torch import nn

sys.path.extend(str(folder) for folder in Path(__file__).resolve().parents[:2])

from settings import difference

import ledger
from zerosum import data, networks, objectives, optimizers, penalties, theory
from zerosum.game import Ensemble, Game
from zerosum.metrics.estimate import student
from zerosum.randomness import key, stream
from zerosum.run import runtime
from zerosum.schedules import ramp

RESULT = ledger.RESULTS / "reproduce_optimum.json"
PICTURES = ledger.ROOT / "docs" / "images" / "reproduce"
SEEDS, N = range(300, 310), 1_000_000
DRAWN, AXIS = 4, torch.linspace(-4, 4, 801, dtype=torch.float64)  # densities in the picture
BLUR = 0.2  # shows how much of their JSD is finer
FINE = partial(theory.quadrature, tolerance=1e-4, budget=2**14)


@dataclass(frozen=True)
class Setting:
    """A game, with what may keep it from the optimum."""

    plane: bool = False
    width: int = 64
    batch: int = 256
    turns: int = 3_000
    cooled: bool = True
    k: int = 1
    r1: float = 0.02
    g_rate: float = 2e-3

    def density(self) -> data.GaussianMixture:
        return data.ring(4, std=0.35) if self.plane else data.mixture([-1.5, 1.5], std=0.5)

    def game(self, seed: int) -> Game:
        d = 2 if self.plane else 1
        torch.manual_seed(key(seed, "init"))

        def adam(rate: float) -> optimizers.Factory:
            steady = optimizers.adam(rate, betas=(0.0, 0.99))
            falling = ramp(rate, 1e-5, steps=self.turns, shape="cosine")
            return optimizers.scheduled(steady, lr=falling) if self.cooled else steady

        return Game(
            networks.mlp((d,), (d,), self.width, 2, nn.SiLU),
            networks.mlp((d,), (), self.width, 2, nn.SiLU),
            objectives.nonsaturating(),
            [penalties.r1(self.r1)],
            latent=d,
            optimizers=(adam(self.g_rate), adam(2e-3)),
            batch=self.batch,
            k=self.k,
            ema=0.999,
            seed=seed,
        )


LINE, AS_IT_IS = Setting(), "line, as it is"
LONG = "line, rates that do not fall, 10 x the turns"
NEAR_BEST = "line, rates that do not fall, k = 10, G's rate a tenth"  # D near its best: proposition 2
PLANE = "plane, as it is"
FLAT = Setting(plane=True)
PLANE_NEAR_BEST = "plane, rates that do not fall, k = 10, G's rate a tenth"
SETTINGS = {
    AS_IT_IS: LINE,
    "line, 2 x the turns": replace(LINE, turns=6_000),
    "line, rates that do not fall": replace(LINE, cooled=False),
    LONG: replace(LINE, cooled=False, turns=30_000),
    NEAR_BEST: replace(LINE, cooled=False, turns=4_000, k=10, g_rate=2e-4),
    "line, k = 5": replace(LINE, k=5),
    "line, players 2 x as wide": replace(LINE, width=128),
    "line, players of 8 units": replace(LINE, width=8),
    "line, R1 10 x as heavy": replace(LINE, r1=0.2),
    "line, batch 1,024": replace(LINE, batch=1_024),
    "line, batch 32": replace(LINE, batch=32),
    PLANE: FLAT,
    "plane, 2 x the turns": replace(FLAT, turns=6_000),
    "plane, rates that do not fall": replace(FLAT, cooled=False),
    PLANE_NEAR_BEST: replace(FLAT, cooled=False, k=10, g_rate=2e-4),
    "plane, R1 a tenth as heavy": replace(FLAT, r1=0.002),
}
SHOWN = {AS_IT_IS: "as it is", LONG: "10 x the turns", NEAR_BEST: "D near its best"}  # in the picture
SHOWN_PLANE = {PLANE: "as it is", PLANE_NEAR_BEST: "D near its best"}  # in the other
SIDE, HALF = 0.1, 25  # of its squares, and their number from the middle to an edge


def played(setting: Setting) -> list[Game]:
    games = [setting.game(seed) for seed in SEEDS]
    sources = [replace(setting.density(), seed=seed) for seed in SEEDS]
    for _ in Ensemble(games).play(sources, setting.turns):
        pass
    return games


def on_the_line(p: theory.Density, game: Game) -> dict[str, float]:
    G, average = game.G.network, game.G.average or game.G.network
    live, sampled = (theory.pushforward(network, theory.NormalPrior(1)) for network in (G, average))
    apart = [theory.jsd(p, q, by=FINE) for q in (live, sampled)]
    made, real = game.sample(N, seed=1).double(), p.sample(N, stream(2, "V")).double()
    return {
        "value": theory.value(game.D.network, p, live, by=FINE).value + log(4),
        "jsd of G": apart[0].value,
        "jsd": apart[1].value,
        "error of jsd": max(found.error for found in apart),
        "wasserstein": float((made.sort(0).values - real.sort(0).values).abs().mean()),
        "folds": folds(average),
        "from half": from_half(p, game, torch.linspace(-6, 6, 4_001, dtype=torch.float64)[:, None]),
    }


@torch.no_grad()
def folds(G: nn.Module) -> int:
    """How often G turns back on the way from z = -4 to z = 4."""
    rising = G(torch.linspace(-4, 4, 8_001)[:, None])[:, 0].diff() > 0
    return int((rising[1:] != rising[:-1]).sum())


def in_the_plane(p: theory.Density, game: Game) -> dict[str, float]:
    real, fake = p.sample(N, stream(2, "V")).float(), game.sample(N, seed=1, live=True)
    with torch.no_grad():
        D = game.D.network
        V = nn.functional.logsigmoid(D(real)).mean() + nn.functional.logsigmoid(-D(fake)).mean()
    axis = torch.linspace(-3, 3, 301, dtype=torch.float64)
    return {
        "value": float(V) + log(4),
        "jsd of G": by_squares(p, fake),
        "jsd": by_squares(p, game.sample(N, seed=1)),
        "error of jsd": by_squares(p, real),
        "from half": from_half(p, game, torch.cartesian_prod(axis, axis)),
    }


def by_squares(p: theory.Density, points: torch.Tensor, side: float = 0.05, half: int = 60) -> float:
    """JSD(p, q), q known by points [n, 2], over squares and all that lies outside of them.

    It is never more than the JSD itself (data processing) but for chance, whose part is what points of p get.
    """
    axis = (torch.arange(-half, half, dtype=torch.float64) + 0.5) * side
    mine = p.log_prob(torch.cartesian_prod(axis, axis)).exp() * side**2
    square = (points.double() / side).floor().long() + half
    inside = ((square >= 0) & (square < 2 * half)).all(1)
    theirs = torch.bincount(square[inside] @ torch.tensor([2 * half, 1]), minlength=len(mine)) / len(points)
    P, Q = (torch.cat([q.double(), (1 - q.double().sum())[None].clamp(min=0)]) for q in (mine, theirs))
    return float(jensenshannon(P, Q)) ** 2


def from_half(p: theory.Density, game: Game, x: torch.Tensor) -> float:
    """The largest |D(x) - 1/2| where p_data is at least a hundredth of its peak."""
    log_p = p.log_prob(x)
    with torch.no_grad():
        D = torch.sigmoid(game.D.network(x[log_p > log_p.max() - log(100)].float()))
    return float((D - 0.5).abs().max())


def measure(args: Namespace) -> None:
    runtime.keep_memory()
    for name, setting in SETTINGS.items():
        result = ledger.read(RESULT, {"settings": {}})
        if name in ledger.standing(result["settings"], digest) or not fnmatch(name, args.only):
            continue
        p, judge = setting.density(), in_the_plane if setting.plane else on_the_line
        games = played(setting)
        found: dict[str, Any] = {"turns": setting.turns, "digest": digest(name)}
        found["seeds"] = [{what: round(x, 7) for what, x in judge(p, game).items()} for game in games]
        if name in SHOWN:
            found["densities"] = [density(game) for game in games[:DRAWN]]
        if name in SHOWN_PLANE:
            found["squares"] = [squares(game) for game in games[:2]]
        settings = {**result["settings"], name: found}
        ordered = {name: settings[name] for name in SETTINGS if name in settings}
        ledger.write(RESULT, {**ledger.origin(), "first seed": SEEDS[0], "settings": ordered}, indent=None)
        print(name, {what: summary(name, what, 4) for what in found["seeds"][0]}, flush=True)


def digest(name: str) -> str:
    """Of all of this script that the result of a setting depends on."""
    setting = SETTINGS[name]
    judges = (in_the_plane, by_squares) if setting.plane else (on_the_line, folds)
    return ledger.digest(setting, SEEDS, N, FINE.keywords, Setting, played, *judges, from_half)


def lacks() -> list[str]:
    return ledger.lapsed(ledger.read(RESULT)["settings"], digest)


def density(game: Game) -> list[float]:
    """p_g of the generator that is sampled, at AXIS."""
    q = theory.pushforward(game.G.average or game.G.network, theory.NormalPrior(1))
    return [round(float(y), 4) for y in q.log_prob(AXIS[:, None]).exp()]


def squares(game: Game) -> list[list[int]]:
    """How many of a million samples lie in each square of the plane."""
    edge = SIDE * HALF
    counts, _ = torch.histogramdd(game.sample(N, seed=1), [2 * HALF] * 2, range=[-edge, edge] * 2)
    return counts.int().tolist()


def draw() -> None:
    import matplotlib

    matplotlib.use("Agg")
    draw_line()
    draw_plane()


def draw_plane() -> None:
    """The densities of the first seeds beside the data's, of the settings that have been played."""
    from matplotlib import pyplot as plt

    settings = ledger.read(RESULT)["settings"]
    axis = (torch.arange(-HALF, HALF, dtype=torch.float64) + 0.5) * SIDE
    p = FLAT.density().log_prob(torch.cartesian_prod(axis, axis)).exp().reshape(2 * HALF, -1)
    shown = [("p_data", p)]
    for name, label in SHOWN_PLANE.items():
        for seed, counts in zip(SEEDS, settings.get(name, {}).get("squares", ()), strict=False):
            shown.append((f"{label}, seed {seed}", torch.tensor(counts) / (N * SIDE**2)))
    figure, axes = plt.subplots(
        1, len(shown), figsize=(2.4 * len(shown), 2.5), layout="constrained", squeeze=False
    )
    edge = HALF * SIDE
    for panel, (label, q) in zip(axes[0], shown, strict=True):
        panel.imshow(q.T, origin="lower", extent=(-edge, edge) * 2, vmin=0, vmax=2 * float(p.max()))
        panel.set_title(label, fontsize=9)
    figure.savefig(PICTURES / "optimum_plane.png", dpi=88, pil_kwargs={"optimize": True})
    plt.close(figure)


def draw_line() -> None:
    """The densities of the first seeds beside the data's, of the settings that have been played."""
    from matplotlib import pyplot as plt

    settings = ledger.read(RESULT)["settings"]
    shown = {name: label for name, label in SHOWN.items() if name in settings}
    size = (12, 7 * len(shown) / 3)
    figure, axes = plt.subplots(
        len(shown), DRAWN, figsize=size, layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    p = LINE.density().log_prob(AXIS[:, None]).exp()
    for row, (name, label) in zip(axes, shown.items(), strict=True):
        for axis, made in zip(row, settings[name]["densities"], strict=True):
            axis.plot(AXIS, made, color="#d55e00", linewidth=0.9, label="p_g")
            axis.plot(AXIS, p, color="black", linewidth=0.9, linestyle="--", label="p_data")
            axis.set_ylim(0, 1)
        row[0].set_ylabel(label)
    axes[0, 0].legend(fontsize=8)
    figure.savefig(PICTURES / "optimum.png", dpi=88, pil_kwargs={"optimize": True})
    plt.close(figure)


def values(name: str, what: str) -> list[float]:
    return [row[what] for row in ledger.read(RESULT)["settings"][name]["seeds"] if what in row]


def summary(name: str, what: str, digits: int = 3) -> str:
    """Mean [95 % interval] over seeds; nothing where it was not measured."""
    some = values(name, what)
    if not some:
        return ""
    mean = fmean(some)
    low, high = student(mean, stdev(some) / len(some) ** 0.5, len(some))
    return f"{mean:z.{digits}f} [{low:z.{digits}f}, {high:z.{digits}f}]"


def change(name: str) -> tuple[str, str]:
    """What a setting did to the JSD of the average: the interval, and whether it is on one side of zero."""
    as_it_is = PLANE if SETTINGS[name].plane else AS_IT_IS
    value, low, high = difference(values(as_it_is, "jsd"), values(name, "jsd"))
    verdict = "less JSD" if high < 0 else "more JSD" if low > 0 else "no difference seen"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]", verdict


def optimum() -> str:
    rows: list[list[str]] = []
    for name, found in ledger.read(RESULT)["settings"].items():
        compared = name not in (AS_IT_IS, PLANE)
        shown = [summary(name, "value", 4), summary(name, "jsd of G"), summary(name, "jsd")]
        shown += [f"{change(name)[0]}" if compared else "", summary(name, "wasserstein")]
        shown += [summary(name, "folds", 1), summary(name, "from half")]
        rows.append([name, f"{found['turns']:,}", *shown])
    head = ["game", "turns", "V + log 4", "JSD of G", "of its average", "beside as it is", "Wasserstein"]
    return ledger.table([*head, "folds", "most of abs(D - 1/2)"], rows)


def blurred(name: str) -> float:
    """The JSD of the densities of the picture, mean over seeds, with N(0, BLUR^2) added to both sides."""
    width = BLUR / float(AXIS[1] - AXIS[0])
    p = SETTINGS[name].density().log_prob(AXIS[:, None]).exp().numpy()
    found: list[float] = []
    for made in ledger.read(RESULT)["settings"][name]["densities"]:
        P, Q = (gaussian_filter1d(q, width) for q in (p, made))
        found.append(float(jensenshannon(P, Q)) ** 2)
    return fmean(found)


def optimum_found() -> str:
    """What the figures say, in sentences."""
    lines: list[str] = []
    groups: dict[tuple[str, str], list[str]] = {}
    for name in ledger.read(RESULT)["settings"]:
        place, _, label = name.partition(", ")
        if name in SHOWN | SHOWN_PLANE:
            mean = {what: fmean(values(name, what)) for what in ("value", "jsd of G", "from half", "jsd")}
            shown = (SHOWN | SHOWN_PLANE)[name]
            lines.append(
                f"- {place}, {shown}: D sees {mean['value'] / 2:z.4f} (half of V + log 4) of "
                f"the {mean['jsd of G']:.3f} nats by which G is off, and stays within "
                f"{mean['from half']:.3f} of 1/2. The averaged G ends at {mean['jsd']:.3f}."
            )
        if name in SHOWN:
            lines[-1] += (
                f" Of the games of the picture, at {fmean(values(name, 'jsd')[:DRAWN]):.3f}, "
                f"{blurred(name):.3f} are left when both densities are blurred by {BLUR}."
            )
        if name not in (AS_IT_IS, PLANE):
            shown, verdict = change(name)
            groups.setdefault((place, verdict), []).append(f"{label} ({shown})")
    for (place, verdict), names in groups.items():
        lines.append(f"- {place}, {verdict} beside the game as it is: {'; '.join(names)}.")
    return "\n".join(lines)


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--only", default="*", metavar="PATTERN")


BENCHMARK = ledger.Benchmark(
    __doc__, measure, options, {"optimum": optimum, "optimum_found": optimum_found}, draw, lacks
)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
