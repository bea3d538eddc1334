"""Modes of the ring and the grid by method: PacGAN's Table 1 (Lin et al. 2018), ten seeds each.

    python benchmarks/reproduce/modes.py                       play what is not played yet
    python benchmarks/reproduce/modes.py ring --only ours      this
    python benchmarks/reproduce/modes.py tries                 what else was tried on the grid
    python benchmarks/reproduce/modes.py priors                the way between modes, by prior

PacGAN's data (ring: radius 1, standard deviation 0.01; grid: spacing 2, 0.05) and evaluation: 2,500 samples,
of high quality within 3 standard deviations of the nearest mode, a mode found by one such sample, and the
reverse KL divergence of their histogram. A perfect generator has a high-quality share of 0.989. All methods,
played as ensembles, have our networks and Adam at the preset's rate, which falls; their turns are in
`methods`, where PacGAN took 400,000 updates of either player; ours have at most 40,000. "ours" was chosen on
seeds 20 to 23, on the ring three times: the first choice left two of its ten seeds below 97 %, the second one
without a mode, and each was followed by ten new seeds. On the grid two choices stand side by side. A try has
seeds 20 and 21, and 10,000 samples; priors have seeds 100 to 102, of which nothing else was chosen.

Between the modes is what is farther than 6 standard deviations from all. Of the way from mode to mode: the
share of the points of a thousand straight lines in z, from one draw of the prior to another, that G takes
between the modes.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ledger
from zerosum import data, metrics
from zerosum import recipe as recipes
from zerosum.game import Ensemble, Game
from zerosum.randomness import stream
from zerosum.run import runtime

RESULT = ledger.RESULTS / "reproduce_modes.json"
DENSITIES = {"ring": data.ring, "grid": data.grid}
AWAY = 6
"""Standard deviations beyond which a point belongs to no mode."""


class Method(NamedTuple):
    turns: int
    changes: dict[str, Any]
    """in the preset of the data"""
    seeds: range = range(300, 310)


D = {"name": "mlp", "width": 128, "depth": 3}
SLOW = {"G.depth": 4} | {f"{who}_optimizer.lr.shape": "geometric" for who in "gd"}
TWO = SLOW | {"prior": "uniform", "k": 2}
WIDE = SLOW | {"prior": "uniform", "G.gain": 4.0}
HALF = {f"{who}_optimizer.lr.{end}": rate for who in "gd" for end, rate in (("start", 5e-4), ("end", 2.5e-5))}
PARTED = SLOW | HALF | {"latent": 10, "prior": {"name": "mixture", "std": 0.1}}


def fallen(start: float, end: float) -> dict[str, Any]:
    """The non-saturating loss with an R1 whose weight falls."""
    weight = {"name": "ramp", "shape": "geometric", "start": start, "end": end}
    return {"objective": "nonsaturating", "penalties": [{"name": "r1", "weight": weight}]}


OURS: dict[str, dict[str, Method]] = {
    "ring": {
        "ours, first": Method(36_000, SLOW),
        "ours, second": Method(20_000, TWO, range(310, 320)),
        "ours": Method(20_000, TWO | fallen(0.1, 0.005), range(320, 330)),
    },
    "grid": {
        "ours": Method(40_000, WIDE),
        "a prior in parts": Method(40_000, PARTED, range(310, 320)),
    },
}
NARROWER = PARTED | {"prior": {"name": "mixture", "std": 0.03}}
PRIORS = {
    "uniform, 4 x as wide (ours)": Method(40_000, WIDE, range(100, 101)),
    "1,024 parts of width 0.03": Method(40_000, NARROWER, range(100, 103)),
}
TRIES = {
    "ours": WIDE,
    "a prior in parts": PARTED,
    "latents twice as wide": WIDE | {"G.gain": 8.0},
    "penalties that end ten times lower": WIDE | {f"penalties.{i}.weight.end": 1e-4 for i in range(2)},
    "rates that fall by a cosine": WIDE | {f"{who}_optimizer.lr.shape": "cosine" for who in "gd"},
    "non-saturating + R1": WIDE | fallen(2.5, 0.05),
    "the same, tanh in G": WIDE | fallen(2.5, 0.05) | {"G.activation": "Tanh"},
}
PUBLISHED = {
    ("GAN", "ring"): "6.3 ± 0.5, 98.2 ± 0.2 %, 0.45 ± 0.09",
    ("PacGAN 2", "ring"): "7.9 ± 0.1, 95.6 ± 2.0 %, 0.07 ± 0.03",
    ("PacGAN 3", "ring"): "7.8 ± 0.1, 97.7 ± 0.3 %, 0.10 ± 0.02",
    ("PacGAN 4", "ring"): "7.8 ± 0.1, 95.9 ± 1.4 %, 0.07 ± 0.02",
    ("GAN", "grid"): "17.3 ± 0.8, 94.8 ± 0.7 %, 0.70 ± 0.07",
    ("PacGAN 2", "grid"): "23.8 ± 0.7, 91.3 ± 0.8 %, 0.13 ± 0.04",
    ("PacGAN 3", "grid"): "24.6 ± 0.4, 94.2 ± 0.4 %, 0.06 ± 0.02",
    ("PacGAN 4", "grid"): "24.8 ± 0.2, 93.6 ± 0.6 %, 0.04 ± 0.01",
}


def packed(m: int, name: str) -> dict[str, Any]:
    """The preset's D, which sees m examples at once (Lin et al. 2018)."""
    return {"name": "packed", "network": {**D, "gain": recipes.load(name, {}).D["gain"]}, "m": m}  # type: ignore[index]


def methods(part: str) -> dict[str, Method]:
    """What is played on the ring, on the grid, or as tries or by prior on the grid."""
    if part == "priors":
        return PRIORS
    if part == "tries":
        return {label: Method(40_000, changes, range(20, 22)) for label, changes in TRIES.items()}
    plain: dict[str, Any] = {"objective": "nonsaturating", "penalties": []}
    r1 = {"penalties": [{"name": "r1", "weight": 0.1}], "objective": "nonsaturating"}
    wgan = {"objective": "wasserstein", "penalties": [{"name": "wgan_gp", "weight": 0.1}], "k": 5}
    return {
        "GAN": Method(12_000, plain),
        **{f"PacGAN {m}": Method(12_000, {**plain, "D": packed(m, part), "batch": 120}) for m in (2, 3, 4)},
        "non-saturating + R1": Method(12_000, r1),
        "WGAN-GP": Method(4_000, wgan),
        "relativistic + R1 + R2": Method(12_000, {}),
        **OURS[part],
    }


def recipe(name: str, turns: int, changes: dict[str, Any], seed: int) -> recipes.Recipe:
    slower = {f"{who}_optimizer.lr.steps": turns for who in "gd"}
    penalties = changes.get("penalties", recipes.load(name, {}).penalties)
    falling = [i for i, penalty in enumerate(penalties) if isinstance(penalty["weight"], dict)]
    slower |= {f"penalties.{i}.weight.steps": turns * 7 // 10 for i in falling}
    return recipes.load(name, {"seed": seed, "steps": turns, "compile": True, **changes, **slower})


def played(name: str, method: Method) -> tuple[list[Game], float]:
    """The games of all seeds at their last turn, and the CPU seconds that they took."""
    turns, changes, seeds = method
    made = [recipe(name, turns, changes, seed) for seed in seeds]
    sources = [recipes.build_source(one) for one in made]
    games = [recipes.build(one, source)[0] for one, source in zip(made, sources, strict=True)]
    begun = time.process_time()
    for turn in Ensemble(games).play(sources, turns):
        if (turn.step + 1) % 3_000 == 0:
            print(f"  {turn.step + 1:,} of {turns:,}: {judged(games[0], name, 2_500)}", flush=True)
    return games, time.process_time() - begun


def judged(game: Game, name: str, n: int) -> dict[str, Any]:
    """`between`: the share of samples that is farther than 6 standard deviations from every mode. `width`:
    the standard deviation of the others about their modes, beside that of the data, or None.
    """
    density = DENSITIES[name]()
    x = game.sample(n, seed=1)
    modes = int(metrics.mode_coverage(x, density.modes, density.std).value)
    distance = torch.cdist(x, density.modes).amin(1)
    away = distance > AWAY * density.std
    width = float((distance[~away].square().mean() / 2).sqrt() / density.std)
    return {
        "modes": modes,
        "high_quality": round(float(metrics.high_quality_share(x, density.modes, density.std)), 5),
        "between": round(float(away.double().mean()), 5),
        "width": None if away.all() else round(width, 4),
        "reverse_kl": round(float(metrics.reverse_kl(x, density.modes, density.std)), 5) if modes else None,
    }


@torch.no_grad()
def on_the_way(game: Game, name: str, lines: int = 1_000, points: int = 101) -> float:
    """The share of straight lines in z, from draw to draw of the prior, that G takes between the modes."""
    density = DENSITIES[name]()
    G = game.G.average or game.G.network
    start, end = game.prior((2, lines, *game.latent), stream(1, "way"), torch.float32)
    away = [
        (torch.cdist(G(start.lerp(end, t)), density.modes).amin(1) > AWAY * density.std).double().mean()
        for t in torch.linspace(0, 1, points).tolist()
    ]
    return round(float(torch.stack(away).mean()), 5)


def summary(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Mean and standard error over seeds, of what is a number."""
    found = {}
    for measure in rows[0]:
        values = [row[measure] for row in rows if row[measure] is not None]
        if len(values) > 1:
            found[measure] = [round(fmean(values), 5), round(stdev(values) / len(values) ** 0.5, 5)]
    return found


def pacgan() -> str:
    """Methods on the ring and the grid, beside the table of the paper whose protocol it is."""
    result = ledger.result("reproduce_modes")
    rows = [
        "| data | method | published: modes, high quality, reverse KL | seeds | modes | high quality "
        "| worst seed | reverse KL | updates of D, of G | CPU seconds a seed |",
        "|---|" + "---|" * 9,
    ]
    for name, full in (("ring", 8), ("grid", 25)):
        for i, (method, found) in enumerate(result[name].items()):
            mean, seeds = found["mean_and_standard_error"], found["seeds"]
            cells = [
                f"`{name}`" if i == 0 else "",
                method,
                found["published"] or "",
                f"{found['numbers'][0]} to {found['numbers'][-1]}",
                f"{ledger.plus_minus(mean['modes'], 1)} of {full}",
                " ± ".join(f"{100 * x:.1f}" for x in mean["high_quality"]) + " %",
                f"{min(row['high_quality'] for row in seeds):.1%}",
                ledger.plus_minus(mean["reverse_kl"]) if "reverse_kl" in mean else "",
                f"{found['turns'] * found['k']:,}, {found['turns']:,}",
                f"{found['cpu_seconds'] / len(seeds):.0f}",
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, "", "All seeds of a method were played as one ensemble."])


def tries() -> str:
    """What else was tried on the grid, each on two seeds."""
    return by_seed("tries", "grid")


def priors() -> str:
    """The grid by prior, with the way between its modes."""
    return by_seed("priors", "prior", {"of the way": ("on_the_way", "{:.0%}"), "width": ("width", "{:.2f}")})


def by_seed(part: str, label: str, more: dict[str, tuple[str, str]] | None = None) -> str:
    """A row for each method, with a figure for each seed; more: other columns, the figure and its look."""
    columns = {
        "modes": ("modes", "{}"),
        "high quality": ("high_quality", "{:.1%}"),
        "between the modes": ("between", "{:.1%}"),
        **(more or {}),
        "reverse KL": ("reverse_kl", "{:.3f}"),
    }
    rows: list[list[str]] = []
    for method, found in ledger.result("reproduce_modes")[part].items():
        cells = [", ".join(look.format(row[of]) for row in found["seeds"]) for of, look in columns.values()]
        rows.append([method, *cells])
    return ledger.table([label, *columns], rows)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data", nargs="*", default=["ring", "grid"], help="ring, grid, tries, priors; default: the first two"
    )
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="default: all")
    parser.add_argument("--threads", type=int, default=1)


def measure(args: argparse.Namespace) -> None:
    if others := set(args.data) - {*OURS, "tries", "priors"}:
        raise SystemExit(f"there is no {min(others)!r}: there are ring, grid, tries and priors")
    plan = {part: methods(part) for part in args.data}
    labels = {label for these in plan.values() for label in these}
    if unknown := set(args.only or ()) - labels:
        raise SystemExit(f"there is no method {min(unknown)!r}: there are {', '.join(sorted(labels))}")
    runtime.keep_memory()
    torch.set_num_threads(args.threads)
    for part, these in plan.items():
        for label, method in these.items():
            stand = ledger.standing(ledger.read(RESULT, {}).get(part, {}), partial(digest, part))
            if label in (args.only or these) and label not in stand:
                print(f"{part}, {label}", flush=True)
                keep(part, label, measured(part, label, method), [*these])


def measured(part: str, label: str, method: Method) -> dict[str, Any]:
    """What a method's games came to."""
    name, n = (part, 2_500) if part in OURS else ("grid", 10_000)
    games, seconds = played(name, method)
    rows = [judged(game, name, n) | {"on_the_way": on_the_way(game, name)} for game in games]
    return {
        "turns": method.turns,
        "k": method.changes.get("k", 1),
        "numbers": [*method.seeds],
        "cpu_seconds": round(seconds),
        "published": PUBLISHED.get((label, part)),
        "digest": digest(part, label),
        "mean_and_standard_error": summary(rows),
        "seeds": rows,
    }


def keep(part: str, label: str, result: dict[str, Any], order: list[str]) -> None:
    """Into the file as it is now: another process may have written since."""
    now = ledger.read(RESULT, {})
    methods = {**now.get(part, {}), label: ledger.origin() | result}
    ledger.write(RESULT, now | {part: {each: methods[each] for each in order if each in methods}})


def digest(part: str, label: str) -> str:
    """Of the recipe with its changes, and of all of this script that plays and judges it."""
    method, name = methods(part)[label], part if part in OURS else "grid"
    made = recipes.dump(recipe(name, method.turns, method.changes, 0))
    return ledger.digest(made, method.seeds, played, measured, judged, on_the_way, AWAY)


def lacks() -> list[str]:
    result = ledger.read(RESULT)
    return [lack for part in result for lack in ledger.lapsed(result[part], partial(digest, part))]


PARTS = {"pacgan": pacgan, "tries": tries, "priors": priors}
BENCHMARK = ledger.Benchmark(__doc__, measure, options, PARTS)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
