"""The pictures of 2014: samples beside their nearest training digits, and the way from one z to another.

    python benchmarks/reproduce/figures.py [RUN] [--step N]     default: runs/goodfellow2014/seed0, its end

Figure 2 of the paper shows samples, and for some of them the nearest training example, "in order to
demonstrate that the model has not memorized the training set"; here every sample has its own to its right,
and the distances are compared with those of real test digits. Figure 3 shows "digits obtained by linearly
interpolating between coordinates in z space": a row for each of eight legs. The samples are the first of
seed 0, not chosen. The same come from `zerosum sample RUN --nearest 1 --grid 8x6` and
`zerosum sample RUN --interpolate 8 --frames 12`, whose ways are straight where the prior is uniform.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

import ledger
from zerosum.pictures import tiles
from zerosum.run import files
from zerosum.run.run import Run
from zerosum.sampling import Generator, Sampler, neighbours

RESULT = ledger.RESULTS / "reproduce_figures.json"
PICTURES = ledger.ROOT / "docs" / "images" / "reproduce"
ROWS, COLUMNS = 8, 6
LEGS, FRAMES = 8, 12


def figures(run: Run, folder: Path) -> dict[str, Any]:
    """Write both pictures to a folder; what the distances to the nearest training digits say."""
    G = Generator.of(run)
    sampler = Sampler(G)
    near = neighbours(sampler, G.source(), ROWS * COLUMNS, 1, G.mirrored)
    pairs = torch.stack([near.samples, near.nearest[:, 0]], 1).flatten(0, 1)
    written(tiles(pairs.numpy(), 2 * COLUMNS), folder / "nearest.png")
    written(sampler.strip(LEGS, FRAMES), folder / "interpolation.png")
    made, real = near.distances[:, 0], near.real
    return {
        "recipe": run.recipe.name,
        "seed": run.recipe.seed,
        "step": run.game.step,
        "samples": len(made),
        "unit": near.unit,
        "median_of_samples": round(float(made.median()), 2),
        "least_of_samples": round(float(made.min()), 2),
        "median_of_real": round(float(real.median()), 2),
        "least_of_real": round(float(real.min()), 2),
        "real": [len(real), near.which],
        "copies": int((made == 0).sum()),
    }


def written(image: Any, path: Path) -> None:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, file.getvalue())


def figures2014() -> str:
    """Whether the samples are copies."""
    r = ledger.result("reproduce_figures")
    return (
        f"Of the first {r['samples']} samples at turn {r['step']:,} {r['copies']} are copies. The median "
        f"distance to the nearest training digit\n"
        f"is {r['median_of_samples']:.1f} {r['unit']} (root mean square over pixels; least "
        f"{r['least_of_samples']:.1f}); of {r['real'][0]:,} real test digits it is "
        f"{r['median_of_real']:.1f} (least {r['least_of_real']:.1f})."
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/goodfellow2014/seed0"))
    parser.add_argument("--step", type=int, default=None, help="of the checkpoint (default: the last)")


def measure(args: argparse.Namespace) -> None:
    ledger.write(RESULT, {**ledger.origin(), **figures(Run.open(args.run, args.step), PICTURES)})


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"figures2014": figures2014})

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
