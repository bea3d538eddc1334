"""The judge of the MNIST benchmarks: a convolutional classifier that no game ever saw.

    python benchmarks/classifier.py            train it (two minutes on one core), commit weights and accuracy
    python benchmarks/classifier.py --check    exit with 1 unless the committed weights reach 98.5 %

It learns the 60,000 training images, each shifted by up to two pixels; the 10,000 test images say how well it
reads. Its 128 penultimate features are the space of the Frechet distance. The weights lie beside the result,
so that a distance measured today can be compared with one measured next year.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

import ledger
from zerosum import data
from zerosum.data import Images
from zerosum.metrics import Classifier, FeatureSpace
from zerosum.metrics.inputs import as_images
from zerosum.randomness import stream

WEIGHTS = ledger.RESULTS / "classifier-mnist.safetensors"
ASKED = 0.985


def network(classes: int = 10) -> nn.Sequential:
    """28 x 28 pixels in [-1, 1] -> 128 features -> logits; 141,000 weights."""

    def block(before: int, after: int, stride: int) -> list[nn.Module]:
        return [
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.SiLU(),
        ]

    return nn.Sequential(
        nn.Sequential(
            *block(1, 32, 1),
            *block(32, 32, 2),
            *block(32, 64, 1),
            *block(64, 64, 2),
            *block(64, 128, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ),
        nn.Linear(128, classes),
    )


def trained(source: Images, epochs: int = 3, batch: int = 128, seed: int = 0) -> nn.Sequential:
    """AdamW under a one-cycle rate of 4e-3, on images shifted by -2 ... 2 pixels."""
    draw = stream(seed, "classifier", "shifts")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network(source.classes)
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    steps = epochs * len(source) // batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        x, y = source.batch(step, batch)
        right, down = torch.randint(5, (2,), generator=draw).tolist()
        x = pad(x, (2, 2, 2, 2), value=-1.0)[:, :, down : down + 28, right : right + 28]
        loss = cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


def accuracy(model: nn.Module, source: Images) -> float:
    labels = source.labels
    if labels is None:
        raise ValueError("the test images have no labels")
    return float((judge(model).labels(source.pixels[:][:, 0]) == labels).float().mean())


def judge(model: nn.Module, name: str = "classifier of mnist") -> Classifier:
    trunk, head = model.children()
    return Classifier(FeatureSpace(name, trunk), head)


def committed(path: Path = WEIGHTS) -> Classifier:
    """The judge with the weights that are in the repository."""
    model = network()
    model.load_state_dict(load_file(path))
    return judge(model.eval().requires_grad_(False))


def pixels(images: Any) -> Tensor:
    """Images in any accepted form as the judge sees them: float [N, 1, 28, 28], resized where need be."""
    x = as_images(images)
    if x.shape[-2:] == (28, 28):
        return x
    return nn.functional.interpolate(x, (28, 28), mode="bilinear", align_corners=False, antialias=True)


def measure(_: argparse.Namespace) -> None:
    test, begun = data.mnist("test"), time.monotonic()
    model = trained(data.mnist("train"))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, WEIGHTS)
    result = {
        "test_accuracy": round(accuracy(model, test), 4),
        "test_confidence": round(float(judge(model).probabilities(test.pixels[:][:, 0]).amax(1).mean()), 4),
        "epochs": 3,
        "seed": 0,
        "seconds": round(time.monotonic() - begun, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    ledger.write(ledger.RESULTS / "classifier.json", result)


def lacks() -> list[str]:
    model = network()
    model.load_state_dict(load_file(WEIGHTS))
    right = accuracy(model.eval().requires_grad_(False), data.mnist("test"))
    return [] if right >= ASKED else [f"{WEIGHTS.name}: {right:.2%} of the test images are read right"]


BENCHMARK = ledger.Benchmark(__doc__, measure, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
