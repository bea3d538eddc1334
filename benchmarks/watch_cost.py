"""What the watch costs: the share of a run's time that the shipped instruments take at their clocks.

    python benchmarks/watch_cost.py                     every preset, and the docs
    python benchmarks/watch_cost.py --only digits ring  some of them

Each preset plays as it ships, on one thread of this machine; turns and looks alternate, and are timed in
seconds of the processor, as others use it too (`watch.cost`). The time of a run is that of its turns and of
all looks; a turn with a lazy penalty counts as often as it comes. `photos` plays on 300 smooth pictures of 32
pixels.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from ledger import RESULTS, Benchmark, origin, read, result, table, write
from zerosum import recipe as recipes
from zerosum.run.run import Run
from zerosum.watch import cost

LIMIT = 0.05  # of a run's time


def photographs(folder: Path, side: int = 32, n: int = 300) -> None:
    """Two sub-folders of smooth pictures."""
    rng = np.random.default_rng(0)
    for i in range(n):
        place = folder / "ab"[i % 2]
        place.mkdir(exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(place / f"{i:03d}.png")


def measured(name: str, rounds: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        changes: dict[str, Any] = {"device": "cpu", "seed": 0}
        if name.startswith("photos"):
            pictures = Path(folder) / "pictures"
            pictures.mkdir()
            photographs(pictures)
            changes["data"] = {"name": "image_folder", "path": str(pictures)}
        with Run.start(Path(folder) / "run", recipes.load(name, changes)) as run:
            begun = time.perf_counter()
            shares = cost(run.watch, run.game, run.source, rounds, time.process_time)
            seconds = time.perf_counter() - begun
    return {
        "total": round(sum(shares.values()), 4),
        "shares": {instrument: round(share, 5) for instrument, share in shares.items()},
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "seconds": round(seconds, 1),
    }


def measure(args: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = RESULTS / "watch_cost.json"
    for name in args.only or recipes.presets():
        row = measured(name, args.rounds)
        print(f"{name:24} {row['total']:.1%}  {row['shares']}", flush=True)
        done = read(path, {}).get("presets", {})
        write(path, {**origin(), "presets": {**done, name: row}})


def cost_table() -> str:
    rows = result("watch_cost")["presets"]
    lines = []
    for name, row in rows.items():
        most = max(row["shares"], key=row["shares"].__getitem__)
        lines.append((f"`{name}`", f"{row['total']:.1%}", f"`{most}`, {row['shares'][most]:.1%}"))
    return table(("preset", "share of the time", "the most costly instrument"), lines)


def lacks() -> list[str]:
    rows = result("watch_cost")["presets"]
    return [
        f"{name}: the watch takes {row['total']:.1%} of the time, above {LIMIT:.0%}"
        for name, row in rows.items()
        if row["total"] > LIMIT
    ]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", default=[], help="presets")
    parser.add_argument("--rounds", type=int, default=11)


BENCHMARK = Benchmark(__doc__, measure, options, {"watch_cost": cost_table}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
