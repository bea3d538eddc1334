"""Does a run on MNIST draw MNIST? The judge of `classifier.py` reads 10,000 samples.

    python benchmarks/mnist_quality.py runs/mnist [--seed 1] [--out benchmarks/results/mnist.json]
    python benchmarks/mnist_quality.py samples.npy     uint8 images from anywhere, of any size
    python benchmarks/mnist_quality.py --check         judge the committed result, measure nothing

One protocol for everybody: 10,000 samples as bytes, brought to 28 pixels, against the 10,000 test images, in
the 128 features of the judge. Its floor is what 10,000 real training images get in the samples' place. Exits
with 1 unless all ten classes occur, the KL divergence of the class histogram to uniform is below 0.02 nats,
the mean confidence above 0.9 and the Frechet distance at most a tenth of the textbook's after 10 minutes.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ledger
from classifier import committed, pixels
from zerosum import data, metrics
from zerosum.data import order
from zerosum.run.run import Run
from zerosum.sampling import Generator

N = 10_000
RESULT = ledger.RESULTS / "mnist.json"
judge = cache(committed)


def passed(result: dict[str, Any], textbook: float) -> bool:
    return (
        result["classes"] == 10
        and result["class_kl"] < 0.02
        and result["confidence"] > 0.9
        and result["frechet_distance"][0] <= textbook / 10
    )


def measured(subject: Path, seed: int) -> dict[str, Any]:
    """The quality of a file of samples, or of a run with what it took."""
    if subject.is_file():
        return quality(np.load(subject)[:N])
    run = Run.open(subject)
    last = json.loads((subject / "metrics.jsonl").read_text().splitlines()[-1])
    begun = json.loads((subject / "events.jsonl").read_text().splitlines()[0])
    facts = {
        "recipe": run.recipe.name,
        "training_seed": run.recipe.seed,
        "steps": run.game.step,
        "seconds": last["seconds"],
        "training_threads": begun["threads"],
        "sampling_seed": seed,
    }
    return facts | quality(Generator.of(run).sample(N, seed))


@cache
def real_features() -> Tensor:
    return judge().space(data.mnist("test").pixels[:][:, 0])


@torch.no_grad()
def quality(samples: Any) -> dict[str, Any]:
    """What the judge says of uint8 samples ``[n, H, W]``; the distance as [value, low, high].

    The class KL is to the classes of the training images, which are not quite equally many.
    """
    features = judge().space(pixels(samples))
    belief = judge().head(features).softmax(1)
    labels = belief.argmax(1)
    distance = metrics.frechet_distance(real_features(), features)
    counts = torch.bincount(labels, minlength=10)
    wanted = torch.bincount(data.mnist("train").labels, minlength=10)
    return {
        "frechet_distance": [round(v, 3) for v in (distance.value, distance.low, distance.high)],
        "classes": int((counts > 0).sum()),
        "class_kl": round(float(metrics.class_kl(labels, wanted)), 5),
        "confidence": round(float(belief.amax(1).mean()), 4),
        "counts": counts.tolist(),
        "samples": len(features),
    }


def floor(seed: int = 0) -> dict[str, Any]:
    """What real training images get in the samples' place: no generator can be expected to do better."""
    source = data.mnist("train")
    return quality(source.pixels[order(len(source), seed, 0, N)][:, 0])


def mnist() -> str:
    """The recipe for small images beside the loop that tutorials teach, as one judge sees them."""
    ours, textbook = ledger.result("mnist"), ledger.result("textbook")["minutes"]
    last = textbook[-1]
    best = min(textbook, key=lambda minute: minute["frechet_distance"][0])

    def row(name: str, seconds: str, found: dict[str, Any]) -> str:
        value, low, high = found["frechet_distance"]
        shown = f"{value:.2f} [{low:.2f}, {high:.2f}]"
        return f"| {name} | {seconds} | {shown} | {found['class_kl']:.4f} | {found['confidence']:.3f} |"

    return "\n".join(
        [
            "| | training, seconds | Frechet distance | class KL, nats | confidence |",
            "|---|---|---|---|---|",
            row("10,000 training images", "", ours["floor"]),
            row(f"`zerosum train {ours['recipe']}`", f"{ours['seconds']:.0f}", ours),
            row("textbook DCGAN", f"{last['seconds']:.0f}", last),
            *([row("textbook DCGAN, its best minute", f"{best['seconds']:.0f}", best)] * (best is not last)),
        ]
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", type=Path, nargs="?", help="a run, or a .npy file of uint8 images")
    parser.add_argument("--seed", type=int, default=1, help="of the noise")


def measure(args: argparse.Namespace) -> None:
    if args.subject is None:
        raise SystemExit("give a run or a .npy file, or --check")
    result = {"floor": floor(), **measured(args.subject, args.seed), **ledger.origin()}
    ledger.write(RESULT, result)


def lacks() -> list[str]:
    result, textbook = ledger.read(RESULT), ledger.result("textbook")["minutes"][-1]["frechet_distance"][0]
    return [] if passed(result, textbook) else ["classes, confidence, or a tenth of the textbook's distance"]


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"mnist": mnist}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
