"""What every metric says of MNIST samples with a planted defect: the sensitivity table.

    ZEROSUM_DATA=... python benchmarks/metrics_sensitivity.py

The real test images and the last 10,000 training images are mixed, and from that pool of 20,000 come the
held-out real set, a validation set and "generated" sets: other real images, with one defect each. The first
50,000 training images are the training set. Features are those of the small classifier, trained on that set.
A metric catches a defect if p < 0.01: by its own p-value where it has one, otherwise by the difference from
its value for the clean set, in units of both standard errors.

Asked, at 5,000 samples: each defect is caught by at least one default metric; the memorisation test fires on
copies at a 5 % share and not on held-out real images. Writes results/metrics_sensitivity.json and .md beside
this file; `--check` reads the former and exits with 1 unless that was met.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

import ledger
from zerosum import data, metrics
from zerosum.randomness import stream

RESULT = ledger.RESULTS / "metrics_sensitivity.json"
CLEAN = ("clean", "clean again")
Labelled = tuple[Tensor, Tensor]
Defect = Callable[[Tensor, Tensor, Labelled], Labelled]  # images, labels, training set -> images, labels


def blurred(x: Tensor, width: float) -> Tensor:
    at = torch.arange(-3, 4).float()
    line = torch.softmax(-at.square() / (2 * width**2), 0)
    soft = conv2d(x.float(), torch.outer(line, line)[None, None], padding=3)
    return soft.round().to(torch.uint8)


def noisy(x: Tensor, level: float) -> Tensor:
    noise = level * 255 * torch.randn(x.shape, generator=stream("sensitivity", "noise"))
    return (x + noise).round().clamp(0, 255).to(torch.uint8)


def without(*lost: int) -> Defect:
    def plant(x: Tensor, y: Tensor, _: Labelled) -> Labelled:
        kept = torch.isin(y, torch.tensor(lost), invert=True)
        return x[kept], y[kept]

    return plant


def repeated(x: Tensor, y: Tensor, _: Labelled) -> Labelled:
    half = len(x) // 4  # the pool holds twice as many as are used
    return x[:half].repeat(2, 1, 1, 1), y[:half].repeat(2)


def copied(share: float) -> Defect:
    def plant(x: Tensor, y: Tensor, train: Labelled) -> Labelled:
        n = round(share * len(x) / 2)
        return torch.cat([train[0][:n], x[n:]]), torch.cat([train[1][:n], y[n:]])

    return plant


def mislabelled(x: Tensor, y: Tensor, _: Labelled) -> Labelled:
    wrong = torch.rand(len(y), generator=stream("sensitivity", "labels")) < 0.1
    return x, torch.where(wrong, (y + 1) % 10, y)


DEFECTS: dict[str, Defect] = {
    "clean": lambda x, y, _: (x, y),
    "clean again": lambda x, y, _: (x.flip(0), y.flip(0)),
    "1 class lost": without(7),
    "3 classes lost": without(1, 4, 7),
    "every sample twice": repeated,
    "blur, 0.7 pixels": lambda x, y, _: (blurred(x, 0.7), y),
    "noise, 10 %": lambda x, y, _: (noisy(x, 0.1), y),
    "5 % copied from training": copied(0.05),
    "10 % of labels wrong": mislabelled,
}


def judge(n: int, steps: int) -> dict[str, dict[str, metrics.Estimate]]:
    train, test = data.mnist("train"), data.mnist("test")
    pool_x = torch.cat([test.pixels[:], train.pixels[50_000:]])
    pool_y = torch.cat([test.labels, train.labels[50_000:]])
    order = torch.randperm(len(pool_x), generator=stream("sensitivity", "pool"))
    pool_x, pool_y = pool_x[order], pool_y[order]
    seen, seen_labels = train.pixels[:50_000], train.labels[:50_000]
    real, real_labels, validation = pool_x[:n], pool_y[:n], pool_x[n : n + 1_000]
    rest_x, rest_y = pool_x[n + 1_000 :][: 2 * n], pool_y[n + 1_000 :][: 2 * n]
    classifier = metrics.train_classifier(seen, seen_labels, classes=10, steps=steps)
    expected = torch.bincount(real_labels, minlength=10)
    table = {}
    for name, plant in DEFECTS.items():
        begun = time.perf_counter()
        x, y = (z[:n] for z in plant(rest_x, rest_y, (seen, seen_labels)))
        samples = {"real": real, "fake": x, "train": seen, "validation": validation}
        guessed = classifier.labels(x)
        views = {
            "samples": samples,
            "features": {"real": classifier.space(real), "fake": classifier.space(x)},
            "probabilities": {"fake": classifier.probabilities(x)},
            "labels": {"fake": guessed, "wanted": y},
        }
        known = {"classes": 10, "expected": expected}
        row: dict[str, metrics.Estimate] = {}
        for metric in metrics.IMAGES.values():
            space = "pixels" if metric.view == "samples" else classifier.space.name
            row |= metric(views[metric.view], space=space, known=known)
        table[name] = row
        print(name, f"{time.perf_counter() - begun:.0f} s", *map(str, row.values()), sep="\n  ", flush=True)
    return table


def p_value(clean: metrics.Estimate, other: metrics.Estimate) -> float:
    """A metric's own p-value, or that of the difference from the clean set by its standard errors
    (two-sided)."""
    if other.p_value is not None:
        return other.p_value
    error = math.hypot(clean.high - clean.low, other.high - other.low) / 2 / 1.96
    gap = abs(other.value - clean.value)
    return 1.0 if gap == 0 else 2 * NormalDist().cdf(-gap / error) if error else 0.0


def summary(table: dict[str, dict[str, metrics.Estimate]], n: int) -> dict[str, object]:
    rows = {
        defect: {
            metric: {"value": e.value, "low": e.low, "high": e.high, "p": p_value(table["clean"][metric], e)}
            for metric, e in row.items()
        }
        for defect, row in table.items()
    }
    caught = {defect: [m for m, cell in row.items() if cell["p"] < 0.01] for defect, row in rows.items()}
    return {"n": n, "caught_by": caught, "rows": rows}


def passed(result: dict[str, Any]) -> bool:
    caught = result["caught_by"]
    found = all(caught[defect] for defect in caught if defect not in CLEAN)
    fires = "memorisation_test" in caught["5 % copied from training"]
    quiet = not any("memorisation_test" in caught[name] for name in CLEAN)
    return result["n"] == 5_000 and found and fires and quiet


def markdown(result: dict[str, Any]) -> str:
    """Values by defect; those that catch it are bold."""
    rows = result["rows"]
    names = list(next(iter(rows.values())))
    lines = ["| defect | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for defect, row in rows.items():
        cells = [f"**{c['value']:.4g}**" if c["p"] < 0.01 else f"{c['value']:.4g}" for c in row.values()]
        lines.append(f"| {defect} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def sensitivity() -> str:
    """Which metrics catch which planted defect."""
    result = ledger.result("metrics_sensitivity")
    rows = ["| planted defect | caught (p < 0.01) by |", "|---|---|"]
    for defect, names in result["caught_by"].items():
        rows.append(
            f"| {defect} | {', '.join(f'`{name}`' for name in names) or 'nothing, as it should be'} |"
        )
    return "\n".join(rows)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--n", type=int, default=5_000)
    parser.add_argument("--steps", type=int, default=1_000, help="of the classifier's training")


def measure(args: argparse.Namespace) -> None:
    result = summary(judge(args.n, args.steps), args.n)
    ledger.write(RESULT, result)
    RESULT.with_suffix(".md").write_text(markdown(result))


def lacks() -> list[str]:
    wrong = "a defect is caught by nothing, or real images are called copies"
    return [] if passed(ledger.read(RESULT)) else [wrong]


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"sensitivity": sensitivity}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
