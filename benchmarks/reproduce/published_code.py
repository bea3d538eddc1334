"""What the published code of 2014 does otherwise than `goodfellow2014`: one difference at a time, 40 epochs.

    python benchmarks/reproduce/published_code.py               play what is not played yet
    python benchmarks/reproduce/published_code.py --seeds 0 1   each on these seeds (default: 0)
    python benchmarks/reproduce/published_code.py --docs        play nothing: the table anew

A game has the recipe as `parzen.py` plays it, but for the one difference, and is judged as there at turn
20,000. What it is compared with are the games that `parzen.py` has judged at that turn.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

sys.path.extend(str(folder) for folder in Path(__file__).resolve().parents[:2])

import parzen

import ledger
from zerosum import recipe as recipes
from zerosum.game import Game
from zerosum.game.inputs import Inputs
from zerosum.game.player import judge
from zerosum.recipe import Recipe
from zerosum.run import runtime

RESULT = ledger.RESULTS / "reproduce_published_code.json"
TURNS = 20_000
SCORES = "as it plays", "averaged"
AS_PLAYED = {"ema": 0.9995, "precision": "bf16", "compile": True, "watch": "none"}
Row = dict[str, Any]


def shared(game: Game, inputs: Inputs) -> None:
    """A turn of the published code: one pass of G and of D, whose fakes and dropout serve both losses."""
    game.train()
    (step,) = inputs.d
    (part,) = step.parts
    with game.draws(game, inputs.seeds):
        logits = judge(game.D, part.real, game.G(part.z), None, apart=False)
        game.objective.d(*logits).mean().backward(inputs=game.D.leaves, retain_graph=True)
        game.objective.g(*logits).mean().backward(inputs=game.G.leaves)
    game.D.step(step.rates)
    game.G.step(inputs.g.rates)
    game.D.end_turn()
    game.G.end_turn(inputs.decay)
    game.step += 1


DIFFERENCES: dict[str, tuple[Row, Callable[[Game, Inputs], object]]] = {
    "both players are shown the same fakes under the same dropout": ({"compile": False}, shared),
    "float32": ({"precision": "fp32"}, Game.advance),
    "Gaussian noise (the file's first version)": ({"prior": "normal"}, Game.advance),
}


def recipe(name: str, seed: int = 0) -> Recipe:
    changes, _ = DIFFERENCES[name]
    return recipes.load("goodfellow2014", {**AS_PLAYED, **changes, "seed": seed})


def digest(name: str) -> str:
    """Of the recipe and of this script; the commit tells the library's state."""
    _, advance = DIFFERENCES[name]
    return ledger.digest(recipe(name), advance.__name__ if advance is Game.advance else advance, TURNS)


def played(name: str, seed: int) -> Row:
    """A game with this difference at its last turn: what it and its average score."""
    _, advance = DIFFERENCES[name]
    game, source = recipes.build(recipe(name, seed))
    begun = time.process_time()
    while game.step < TURNS:
        advance(game, game.inputs(source))
    seconds = round(time.process_time() - begun)
    made = [game.sample(parzen.SAMPLES, seed=1, live=live).flatten(1) for live in (True, False)]
    scores = [parzen.scored(x, parzen.flat("test"), parzen.flat("valid"))["test"] for x in made]
    return {
        "name": name,
        "seed": seed,
        "scores": dict(zip(SCORES, scores, strict=True)),
        "cpu_seconds": seconds,
        "digest": digest(name),
    }


def rows() -> list[Row]:
    """What was played of the differences as they are now."""
    found = ledger.read(RESULT, {"rows": []})["rows"]
    return [row for row in found if row["name"] in DIFFERENCES and row["digest"] == digest(row["name"])]


def as_it_is() -> list[Row]:
    """The games that `parzen.py` has judged at this turn."""
    runs = ledger.result("reproduce_parzen")["runs"]
    each = [
        [c["test"] for run in runs if run["name"] == name for c in run["checkpoints"] if c["step"] == TURNS]
        for name in ("goodfellow2014", "goodfellow2014" + parzen.AVERAGED)
    ]
    return [{"scores": dict(zip(SCORES, pair, strict=True))} for pair in zip(*each, strict=True)]


def published_code() -> str:
    """What the games score as they are, and those with each difference."""
    lines, found = [["as it is", *spread(as_it_is())]], rows()
    for name in DIFFERENCES:
        if mine := [row for row in found if row["name"] == name]:
            lines.append([name, *spread(mine)])
    return ledger.table([f"at turn {TURNS:,}", "games", *SCORES], lines)


def spread(games: list[Row]) -> list[str]:
    """How many games, and of each score mean, least and greatest."""
    cells = [str(len(games))]
    for score in SCORES:
        values = [game["scores"][score][0] for game in games]
        between = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
        cells.append(f"{fmean(values):.1f}{between}")
    return cells


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])


def measure(args: argparse.Namespace) -> None:
    runtime.keep_memory()
    torch.set_num_threads(1)
    for seed, name in product(args.seeds, DIFFERENCES):
        if not any((row["name"], row["seed"]) == (name, seed) for row in rows()):
            row = played(name, seed)
            print(row, flush=True)
            ledger.write(RESULT, {**ledger.origin(), "rows": [*rows(), row]})


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"published_code": published_code})

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
