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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import ledger
from gallery import training_seconds
from mnist_quality import N, judge, pixels, quality
from zerosum import data, metrics
from zerosum.run.run import Run
from zerosum.sampling import Generator

RESULT = ledger.RESULTS / "conditional.json"
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
    wanted = run.game.labels(N).cpu()
    made = Generator.of(run).sample(N, seed, y=wanted)
    test = data.mnist("test")
    if test.labels is None:
        raise SystemExit("the test images of mnist have no labels")
    return {
        **ledger.origin(),
        "recipe": run.recipe.name,
        "training_seed": run.recipe.seed,
        "turns": run.game.step,
        "training_seconds": round(training_seconds(path), 1),
        "sampling_seed": seed,
        "samples": agreement(wanted, made),
        "real": agreement(test.labels, test.pixels[:][:, 0]),
        "frechet_distance": quality(made)["frechet_distance"],
    }


def conditional() -> str:
    """Whether the judge sees the digits that were asked for, class by class."""
    result = ledger.result("conditional")
    rows = [
        "| | all | " + " | ".join(map(str, range(10))) + " |",
        "|---|" + "---|" * 11,
    ]
    for name, found in (("samples", result["samples"]), ("real test digits", result["real"])):
        share, low, high = found["agreement"]
        cells = [f"{share:.2%} [{low:.2%}, {high:.2%}]", *(f"{c[0]:.1%}" for c in found["by_class"])]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    minutes = result["training_seconds"] / 60
    return "\n".join(
        [
            *rows,
            "",
            f"The run of `{result['recipe']}` played {result['turns']:,} turns in {minutes:.0f} minutes; the "
            f"Frechet distance of its samples is {result['frechet_distance'][0]:.2f}.",
        ]
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/gallery/mnist-conditional"))
    parser.add_argument("--seed", type=int, default=1, help="of the noise")


def lacks() -> list[str]:
    samples = ledger.read(RESULT)["samples"]
    enough = samples["images"] == N and samples["agreement"][0] >= ASKED
    return [] if enough else [f"agreement {samples['agreement']}: {ASKED} is asked of {N:,} samples"]


BENCHMARK = ledger.Benchmark(
    __doc__,
    lambda args: ledger.write(RESULT, measured(args.run, args.seed)),
    options,
    {"conditional": conditional},
    lacks=lacks,
)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
