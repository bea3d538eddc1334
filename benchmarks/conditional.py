"""Does a conditional run draw what it is asked for? The judge of `classifier.py` reads 1,000 samples a class.

    python benchmarks/conditional.py runs/mnist-conditional [--seed 1] [--out result.json]
    python benchmarks/conditional.py --check        judge the committed result, measure nothing

Agreement is the share of samples in which the judge sees the digit that was asked for, with Wilson's
interval; beside it stands the same share of the 10,000 real test digits with their own labels. Ten pictures
would do to agree, so the Frechet distance of `mnist_quality.py` stands there too. Exits with 1 unless 97 %
agree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gallery import training_seconds
from ledger import RESULTS, machine, read, write
from mnist_quality import N, judge, pixels, quality
from zerosum import data, metrics
from zerosum.run.run import Run

ASKED, CLASSES = 0.97, 10


def agreement(wanted: Tensor, images: Any) -> dict[str, Any]:
    """Overall and by class, each as [share, low, high]."""
    seen = judge().labels(pixels(images))

    def share(rows: Tensor) -> list[float]:
        found = metrics.agreement(wanted[rows], seen[rows], classes=CLASSES)
        return [round(v, 4) for v in (found.value, found.low, found.high)]

    return {
        "images": len(wanted),
        "agreement": share(torch.ones_like(wanted, dtype=torch.bool)),
        "by_class": [share(wanted == label) for label in range(CLASSES)],
    }


def measured(path: Path, seed: int) -> dict[str, Any]:
    run = Run.open(path)
    if run.game.classes != CLASSES:
        raise SystemExit(f"{path} plays with {run.game.classes} classes: give a conditional run on mnist")
    made = np.concatenate(list(run.samples(N, seed=seed)))
    test = data.mnist("test")
    if test.labels is None:
        raise SystemExit("the test images of mnist have no labels")
    return {
        "command": f"python {' '.join(sys.argv)}",
        "machine": machine(),
        "recipe": run.recipe.name,
        "training_seed": run.recipe.seed,
        "turns": run.game.step,
        "training_seconds": round(training_seconds(path), 1),
        "sampling_seed": seed,
        "samples": agreement(run.game.labels(N).cpu(), made),
        "real": agreement(test.labels, test.pixels[:, 0]),
        "frechet_distance": quality(made)["frechet_distance"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?", help="a finished run of mnist-conditional, say")
    parser.add_argument("--seed", type=int, default=1, help="of the noise")
    parser.add_argument("--out", type=Path, default=RESULTS / "conditional.json")
    parser.add_argument("--check", action="store_true", help="judge the committed result, measure nothing")
    known = parser.parse_args()
    if not known.check:
        if known.run is None:
            parser.error("give a run, or --check")
        write(known.out, measured(known.run, known.seed))
    result = read(known.out)
    samples, real = result["samples"], result["real"]
    print(f"  class by class {[share[0] for share in samples['by_class']]}")
    print(f"  agreement {samples['agreement']} ({ASKED} is asked; real digits {real['agreement']})")
    print(f"  Frechet distance {result['frechet_distance']}")
    return int(samples["images"] != N or samples["agreement"][0] < ASKED)


if __name__ == "__main__":
    raise SystemExit(main())
