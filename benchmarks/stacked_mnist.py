"""Which objective and penalties find the 1,000 modes of stacked MNIST? R3GAN's Table 1 on two cores.

    python benchmarks/stacked_mnist.py --seeds 5        play, judge, write the result
    python benchmarks/stacked_mnist.py --check          judge the committed result, play nothing

The recipe is the preset `stacked-mnist`, played to its end on one thread; only `objective` and `penalties`
change. Then, as VEEGAN has it (Srivastava et al. 2017), the classifier of `classifier.py` reads the three
channels of 26,000 samples: how many of the 1,000 triples of digits occur, and the KL divergence of their
histogram to the uniform one. Of a perfect uniform generator so many samples would show
(1000 - 1) / (2 * 26,000) nats. A configuration failed if a loss was not finite, or if fewer than a tenth of
the modes are found; should the paper's own one fail, the budget is too small to judge the others by.

A configuration and seed that is finished lies in --work and is not played again, so the command goes on where
it was killed; commands with other seeds can run beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ledger
from classifier import committed, pixels
from zerosum import data, metrics
from zerosum import recipe as recipes
from zerosum.data import Stacked
from zerosum.game import Game
from zerosum.pictures import tiles
from zerosum.recipe import Recipe
from zerosum.run import files

RESULT = ledger.RESULTS / "stacked_mnist.json"
MODES, SAMPLES, PART = 1000, 26_000, 1000
judge = cache(committed)


@dataclass(frozen=True)
class Configuration:
    """What is changed in the recipe; paper: modes and KL in R3GAN's Table 1, "fail", or None if not there.

    every: the penalties are taken at every so many turns, so many times as heavy.
    """

    objective: str
    penalties: tuple[str, ...]
    paper: tuple[int, float] | str | None
    every: int = 4

    @property
    def name(self) -> str:
        words = " + ".join([self.objective, *(p.upper() for p in self.penalties)])
        return words if self.every == Configuration.every else f"{words}, every {self.every} turns"


CONFIGURATIONS = (
    Configuration("relativistic_pairing", ("r1", "r2"), (1000, 0.0781)),
    Configuration("nonsaturating", ("r1", "r2"), (693, 0.9270)),
    Configuration("relativistic_pairing", ("r1",), "fail"),
    Configuration("nonsaturating", ("r1",), "fail"),
    Configuration("nonsaturating", (), None),
    Configuration("relativistic_pairing", ("r1", "r2"), "fail", every=8),  # appendix E
)


def recipe_of(configuration: Configuration, seed: int) -> Recipe:
    penalties = [{"name": p, "weight": 1.0, "every": configuration.every} for p in configuration.penalties]
    changes = {"objective": configuration.objective, "penalties": penalties, "seed": seed}
    return recipes.load("stacked-mnist", changes)


# play ---------------------------------------------------------------------------------------------------


def played(game: Game, source: Any, turns: int) -> tuple[float, bool]:
    """The CPU seconds spent, and whether every loss was finite."""
    begun = time.process_time()
    finite = all(math.isfinite(float(t.d_loss) + float(t.g_loss)) for t in game.play(source, turns))
    return time.process_time() - begun, finite


def row_of(configuration: Configuration, seed: int, known: argparse.Namespace) -> dict[str, Any]:
    """One configuration and seed, played unless it lies there finished."""
    recipe = recipe_of(configuration, seed)
    resolved = json.loads(json.dumps(recipes.resolved(recipe)))
    file = known.work / f"{known.samples}" / f"{configuration.name}-{seed}.json"
    if file.exists() and (row := json.loads(file.read_text()))["recipe"] == resolved:
        return row
    game, source = recipes.build(recipe)
    load, begun = os.getloadavg()[0], time.monotonic()
    spent, finite = played(game, source, recipe.turns)
    row: dict[str, Any] = {
        "configuration": configuration.name,
        "seed": seed,
        "turns": game.step,
        "cpu_seconds": round(spent, 1),
        "wall_seconds": round(time.monotonic() - begun, 1),
        "load_before": round(load, 1),
        "finite": finite,
        **(judged(samples(game, source, known.samples)) if finite else {"modes": 0}),
    }
    row["failed"] = row["modes"] < MODES / 10
    print(row, flush=True)
    row["recipe"] = resolved
    file.parent.mkdir(parents=True, exist_ok=True)
    if finite:
        tiles(next(samples(game, source, 100)).numpy(), 10).save(file.with_suffix(".png"))
    files.write(file, json.dumps(row, indent=1).encode())
    return row


# judge --------------------------------------------------------------------------------------------------


def samples(game: Game, source: Any, n: int, seed: int = 1) -> Iterator[Tensor]:
    """uint8 [m, 3, H, W], part by part, of the averaged generator."""
    for first in range(0, n, PART):
        x = game.generate(game.noise(min(PART, n - first), seed, first))
        yield source.codec.view(x)


def real(n: int) -> Iterator[Tensor]:
    """Stacked digits of the test images, as many."""
    source: Stacked = data.stacked_mnist("test")
    for step in range(-(-n // PART)):
        x = source.batch(step, PART)[0][: n - step * PART]
        yield source.codec.view(x)


def judged(images: Iterator[Tensor]) -> dict[str, Any]:
    """What the judge reads; KL as [value, low, high]. confidence: its mean belief in the digit it names."""
    sure: list[Tensor] = []

    def digit(x: Tensor) -> Tensor:
        belief = judge().probabilities(x)
        sure.append(belief.amax(1))
        return belief.argmax(1)

    labels = torch.cat([metrics.stacked_labels(digit, pixels(x)) for x in images])
    kl = metrics.class_kl(labels, torch.ones(MODES))
    return {
        "samples": len(labels),
        "modes": int(metrics.class_coverage(labels, MODES).value),
        "kl": [round(v, 4) for v in (kl.value, kl.low, kl.high)],
        "confidence": round(float(torch.cat(sure).mean()), 4),
    }


# what follows from the rows -----------------------------------------------------------------------------


def mean_and_error(values: list[float], digits: int) -> list[float | None]:
    """Mean and standard error over seeds; no error of one seed."""
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None
    return [round(float(np.mean(values)), digits), error if error is None else round(error, digits)]


def summary(rows: list[dict[str, Any]], configuration: Configuration) -> dict[str, Any]:
    mine = [row for row in rows if row["configuration"] == configuration.name]
    read = [row for row in mine if row["finite"]]
    return {
        "configuration": configuration.name,
        "paper": list(configuration.paper) if isinstance(configuration.paper, tuple) else configuration.paper,
        "seeds": [row["seed"] for row in mine],
        "failed": sum(row["failed"] for row in mine),
        "cpu_seconds": mean_and_error([row["cpu_seconds"] for row in mine], 0),
        "modes": mean_and_error([row["modes"] for row in mine], 1),
        "kl": mean_and_error([row["kl"][0] for row in read], 4) if read else None,
        "confidence": mean_and_error([row["confidence"] for row in read], 3) if read else None,
    }


def verdict(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Each claim of R3GAN's Table 1 and appendix E, what was found here, and what that says of it."""
    best, rival = CONFIGURATIONS[:2]
    lone = [configuration for configuration in CONFIGURATIONS if configuration.paper == "fail"]

    def of(configuration: Configuration) -> list[dict[str, Any]]:
        return [row for row in rows if row["configuration"] == configuration.name]

    def spread(values: list[float]) -> str:
        ends = [f"{v:,.3f}".rstrip("0").rstrip(".") for v in (min(values), max(values))]
        return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"

    found = [row["modes"] for row in of(best)]
    claims = [
        [
            f"`{best.name}` finds all {MODES:,} modes",
            f"{spread(found)} found",
            "confirmed" if min(found) == MODES else "not reached at this budget",
        ]
    ]
    for what, sign, values in (
        ("finds fewer modes", 1, [[row["modes"] for row in of(c)] for c in (best, rival)]),
        ("has the higher KL", -1, [[row.get("kl", [math.inf])[0] for row in of(c)] for c in (best, rival)]),
    ):
        ours, theirs = ([sign * v for v in side] for side in values)
        separate = "confirmed" if min(ours) > max(theirs) else "undecided: the seeds overlap"
        said = "contradicted" if max(ours) <= min(theirs) else separate
        claims.append([f"`{rival.name}` {what}", f"{spread(values[1])} against {spread(values[0])}", said])
    for configuration in lone:
        failed = [row["failed"] for row in of(configuration)]
        said = "confirmed" if all(failed) else "in part" if any(failed) else "contradicted"
        modes = spread([row["modes"] for row in of(configuration)])
        seeds = f"{sum(failed)} of {len(failed)} seeds failed; {modes} modes found"
        claims.append([f"`{configuration.name}` fails", seeds, said])
    if any(row["failed"] for row in of(best)):
        return [[claim, seen, "undecided: the budget is too small"] for claim, seen, _ in claims]
    return claims


def is_whole(result: dict[str, Any]) -> bool:
    """Every configuration on the same seeds, with the same turns and 26,000 samples; the rest follows."""
    rows, turns = result["rows"], result["turns"]
    names = {configuration.name for configuration in CONFIGURATIONS}
    seeds = {name: sorted(row["seed"] for row in rows if row["configuration"] == name) for name in names}
    return (
        all(seeds[name] == seeds[CONFIGURATIONS[0].name] != [] for name in names)
        and all(row["turns"] == turns for row in rows if row["finite"])
        and all(row["samples"] == SAMPLES for row in [result["real"], *rows] if row.get("finite", True))
        and result["summary"] == [summary(rows, configuration) for configuration in CONFIGURATIONS]
        and result["verdict"] == verdict(rows)
    )


# ----------------------------------------------------------------------------------------------------------


def played_with() -> dict[str, Any]:
    """The preset and what is changed in it, as JSON has them."""
    recipe = recipes.resolved(recipes.load("stacked-mnist"))
    changes = [asdict(configuration) for configuration in CONFIGURATIONS]
    return json.loads(json.dumps({"recipe": recipe, "configurations": changes}))


def played_all(known: argparse.Namespace) -> dict[str, Any]:
    """Seed after seed, so that what is there when it is stopped compares all configurations."""
    torch.set_num_threads(1)
    seeds = range(known.first, known.first + known.seeds)
    rows = [row_of(configuration, seed, known) for seed in seeds for configuration in CONFIGURATIONS]
    for row in rows:
        del row["recipe"]
    return {
        **ledger.origin(),
        "turns": recipes.load("stacked-mnist").turns,
        "threads": 1,
        "floor": round((MODES - 1) / (2 * known.samples), 4),
        "real": judged(real(known.samples)),
        **played_with(),
        "summary": [summary(rows, configuration) for configuration in CONFIGURATIONS],
        "verdict": verdict(rows),
        "rows": rows,
    }


def stacked() -> str:
    """The 1,000 modes of stacked MNIST by objective and penalties, and what that says of R3GAN's Table 1."""
    result = ledger.result("stacked_mnist")
    real = result["real"]
    rows = [
        "| objective and penalties | R3GAN's Table 1 | modes | KL to uniform, nats | sure | CPU s | failed |",
        "|---|" + "---|" * 6,
        f"| *real test digits* | | {real['modes']:,} | {real['kl'][0]:.3f} | {real['confidence']:.3f} | | |",
    ]
    for summary in result["summary"]:
        paper, read_at_all = summary["paper"], summary["kl"] is not None
        cells = [
            f"`{summary['configuration']}`",
            f"{paper[0]:,}, KL {paper[1]:.3f}" if isinstance(paper, list) else paper or "",
            ledger.plus_minus(summary["modes"], 0),
            ledger.plus_minus(summary["kl"], 3) if read_at_all else "",
            ledger.plus_minus(summary["confidence"], 3) if read_at_all else "",
            ledger.plus_minus(summary["cpu_seconds"], 0),
            f"{summary['failed']} of {len(summary['seeds'])}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    verdicts = result["verdict"]
    return "\n".join(
        [
            *rows,
            "",
            f"Each game had {result['turns']:,} turns on one thread; {real['samples']:,} samples are read,\n"
            f"of which a perfect uniform generator would show a KL divergence of {result['floor']}.\n"
            f"Of these {len(verdicts)} claims of R3GAN's, at this budget: {counts(verdicts)}.",
            "",
            *(f"- {claim}: **{words}** ({found})." for claim, found, words in verdicts),
        ]
    )


def counts(verdicts: list[list[str]]) -> str:
    """How many claims have each verdict."""
    said = [words.split(":")[0] for _, _, words in verdicts]
    return ", ".join(f"{said.count(word)} {word}" for word in dict.fromkeys(said))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--work", type=Path, default=Path("runs/stacked_mnist"), help="what is finished")


def lacks() -> list[str]:
    result = ledger.read(RESULT)
    changed = [f"its {what} is another now" for what, now in played_with().items() if result[what] != now]
    return changed + ["a configuration lacks a seed or turns"] * (not is_whole(result))


BENCHMARK = ledger.Benchmark(
    __doc__,
    lambda args: ledger.write(RESULT, played_all(args)),
    options,
    {"stacked": stacked},
    lacks=lacks,
)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
