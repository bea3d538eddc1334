"""Do 1, 2 and 4 ranks play the same game? Every objective with every penalty and every optimizer, 50 turns.

    python benchmarks/ranks.py                      in float64; in float32 with the one optimizer Adam
    python benchmarks/ranks.py --only float32       the other result stays as it is

The games are those of `tests/test_parallel.py`, which plays fewer of them and fewer turns: four parts of a
batch, played by one process, by two ranks and by four; half of the games are conditional. Where they end, all
weights of both players and of the average are compared with those of the one process: the largest difference
in float64, and in float32 the norm of the difference by the norm of the weights.

A relativistic objective does not know of the bias of D's output: the gradient of it is rounding alone, of
which Adam makes a step, in float32 another one with every order of additions. That number is held apart.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import forked
import ledger
from zerosum.game import parallel

RESULT = ledger.RESULTS / "ranks.json"
TURNS, WORLDS = 50, (1, 2, 4)
ASKED = {"float64": 1e-10, "float32": 1e-5}
Ends = dict[str, Tensor]


def tests() -> Any:
    """The module of the games."""
    sys.path.insert(0, str(ledger.ROOT / "tests"))
    return importlib.import_module("test_parallel")


def games(dtype: torch.dtype = torch.float64) -> dict[str, dict[str, Any]]:
    """What `game` takes, by name."""
    found: dict[str, dict[str, Any]] = {}
    made = tests()
    every = product(made.OBJECTIVES, made.PENALTIES, ["adam", *made.OPTIMIZERS])
    for i, (objective, term, optimizer) in enumerate(every):
        settings: dict[str, Any] = {"objective": objective, "term": term, "optimizer": optimizer}
        settings["simultaneous"] = optimizer == "extragradient"
        settings |= {"classes": 4} if i % 2 else {}
        if optimizer == "adam" or dtype == torch.float64:
            found[f"{objective}, {term}, {optimizer}{', conditional' * (i % 2)}"] = settings
    return found


def ends(dtype: torch.dtype, most: int) -> Ends:
    """All weights of every game after its last turn, as this process has them."""
    ranks = parallel.join()
    rank, world = (ranks.rank, ranks.world) if ranks else (0, 1)
    found, made = Ends(), tests()
    for name, settings in [*games(dtype).items()][:most]:
        game = made.game(world, rank, dtype=dtype, **settings)
        if ranks:
            ranks.share(game)
        for _ in game.play(made.source(), TURNS):
            pass
        state = game.state_dict()
        kept = [state["G"]["network"], state["G"]["average"], state["D"]["network"]]
        bias = [key for key in kept[-1] if key.endswith(".bias")][-1]
        last = kept[-1].pop(bias)  # to the end
        found[name] = torch.cat([*(x.flatten() for part in kept for x in part.values()), last.flatten()])
    parallel.leave()
    return found


def played(dtype: torch.dtype, folder: Path, most: int) -> list[Ends]:
    """Where each rank of each world ends, all at once."""

    def work() -> int:
        torch.set_num_threads(1)
        found = ends(dtype, most)
        torch.save(found, folder / f"{os.environ['WORLD_SIZE']}-{os.environ['RANK']}.pt")
        return 0

    folders = {world: folder / str(world) for world in WORLDS}
    for place in folders.values():
        place.mkdir(exist_ok=True)
    for child in [child for world, place in folders.items() for child in forked.start(world, work, place)]:
        if child.wait():
            raise SystemExit(child.said())
    return [torch.load(folder / f"{world}-{rank}.pt") for world in WORLDS for rank in range(world)]


def compared(dtype: torch.dtype, folder: Path, most: int) -> dict[str, Any]:
    """Of every game how far the ranks end from the one process."""
    alone, *several = played(dtype, folder, most)
    rows: dict[str, Any] = {}
    for name, reference in alone.items():
        free = dtype == torch.float32 and name.startswith("relativistic")
        pairs = [(end[name].double(), reference.double()) for end in several]
        bias = max(float((a[-1] - b[-1]).abs()) for a, b in pairs)
        pairs = [(a[:-1], b[:-1]) for a, b in pairs] if free else pairs
        if dtype == torch.float64:
            gap = max(float((a - b).abs().max()) for a, b in pairs)
        else:
            gap = max(float((a - b).norm() / b.norm()) for a, b in pairs)
        rows[name] = {"apart": gap if math.isfinite(gap) else None} | ({"bias of D": bias} if free else {})
    return rows


def measure(args: argparse.Namespace) -> None:
    begun = time.monotonic()
    found = ledger.read(RESULT, {"games": {}})["games"]
    with tempfile.TemporaryDirectory() as place:
        for name in [args.only] if args.only else ASKED:
            found[name] = compared(getattr(torch, name), Path(place), args.games or len(games()))
    minutes = round((time.monotonic() - begun) / 60, 1)
    ledger.write(RESULT, {**ledger.origin(), "turns": TURNS, "minutes": minutes, "games": found}, indent=None)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=list(ASKED), help="play in this one alone")
    parser.add_argument("--games", type=int, default=0, help="only so many, to try the script")


def beyond(result: dict[str, Any], name: str) -> dict[str, float | None]:
    """The games that end farther apart than is asked."""
    found = {game: row["apart"] for game, row in result["games"][name].items()}
    return {game: x for game, x in found.items() if x is None or x > ASKED[name]}


def lacks() -> list[str]:
    result = ledger.read(RESULT)
    return [f"{name}: {game}: {x}" for name in ASKED for game, x in beyond(result, name).items()]


def text() -> str:
    result = ledger.read(RESULT)
    said = (
        "Measured (`python benchmarks/ranks.py`): games of every objective with every penalty and every "
        f"optimizer, half of them conditional, {result['turns']} turns of four parts, by 2 and by 4 ranks "
        "against one process."
    )
    for name, rows in result["games"].items():
        what = "in any weight" if name == "float64" else "of the weights' norm"
        furthest = max(row["apart"] for row in rows.values() if row["apart"] is not None)
        said += f" {len(rows)} games in {name} end at most {furthest:.1e} apart {what} (asked: "
        said += f"{ASKED[name]:g})"
        if bias := max(row.get("bias of D", 0.0) for row in rows.values()):
            said += (
                ", without the bias of D's output where the objective is relativistic: it cannot see that "
                f"number, its gradient is rounding, and Adam makes steps of it (up to {bias:.1e} apart)"
            )
        far = ", ".join(f"{game}: {x}" for game, x in beyond(result, name).items())
        said += f"; beyond that {far}." if far else "."
    return said


BENCHMARK = ledger.Benchmark(__doc__, measure, options, parts={"ranks": text}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
