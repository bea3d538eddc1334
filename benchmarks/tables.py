"""Writes the docs' numbers from the committed results, between ``<!-- NAME -->`` and ``<!-- /NAME -->``.

python benchmarks/tables.py            rewrite README.md and docs/*.md
python benchmarks/tables.py --check    exit with 1 if that would change anything (a test runs this)
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def pm(pair: list[float], digits: int = 3) -> str:
    return f"{pair[0]:.{digits}f} ± {pair[1]:.{digits}f}"


def modes() -> str:
    """Ring and grid: mean and standard error over seeds."""
    result = read("modes")
    rows = [
        "| recipe | seeds | updates | modes | high quality | worst seed | reverse KL | seconds a seed |",
        "|---|" + "---|" * 7,
    ]
    for summary in result["summary"]:
        mean = summary["mean_and_standard_error"]
        steps = next(row["steps"] for row in result["rows"] if row["recipe"] == summary["recipe"])
        full = {"ring": 8, "grid": 25}[summary["recipe"]]
        cells = [
            f"`{summary['recipe']}`",
            str(summary["seeds"]),
            f"{steps:,}",
            f"{mean['modes'][0]:.1f} of {full}",
            pm(mean["high_quality"]),
            f"{summary['worst_high_quality']:.3f}",
            pm(mean["reverse_kl"]),
            f"{mean['seconds'][0]:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def digits() -> str:
    """What a classifier of the real digits reads in a thousand samples."""
    result = read("digits")
    right, sure = result["accuracy_on_real_test"], result["confidence_on_real_test"]
    return (
        f"A logistic regression that reads {right:.1%} of the real test digits right (mean confidence\n"
        f"{sure:.3f}) finds all {result['classes']} classes among {result['samples']:,} samples; the KL "
        f"divergence of their\nhistogram to uniform is {result['class_kl']:.3f} nats and the mean "
        f"confidence {result['confidence']:.3f}."
    )


def headline() -> str:
    """Two pictures of the README, and what they show."""
    ring = next(row for row in read("modes")["summary"] if row["recipe"] == "ring")
    share, seeds = ring["mean_and_standard_error"]["high_quality"][0], ring["seeds"]
    found = sum(row["modes"] == 8 for row in read("modes")["rows"] if row["recipe"] == "ring")
    classes, sure = read("digits")["classes"], read("digits")["confidence"]
    return "\n".join(
        [
            "| ![generated digits](docs/images/digits.png) | ![eight clusters](docs/images/ring.png) |",
            "|---|---|",
            f"| `make demo`: {classes} of 10 classes, read with a mean confidence of {sure:.2f} "
            f"| `zerosum train ring`: 8 of 8 modes on {found} of {seeds} seeds, "
            f"{share:.0%} of samples within 3 σ |",
        ]
    )


def sensitivity() -> str:
    """Which metrics catch which planted defect."""
    result = read("metrics_sensitivity")
    rows = ["| planted defect | caught (p < 0.01) by |", "|---|---|"]
    for defect, metrics in result["caught_by"].items():
        rows.append(f"| {defect} | {', '.join(f'`{m}`' for m in metrics) or 'nothing, as it should be'} |")
    return "\n".join(rows)


def referee() -> str:
    """The referee's interval against the exact divergence."""
    rows = ["| densities | exact JSD | mean bound | mean low end | interval holds |", "|---|---|---|---|---|"]
    for row in read("metrics_referee"):
        rows.append(
            f"| {row['pair']} | {row['exact']:.4f} | {row['mean_value']:.4f} | {row['mean_low']:.4f} "
            f"| {row['held']} of {row['trials']} |"
        )
    return "\n".join(rows)


def scale() -> str:
    """Time and memory of the costly metrics."""
    result = read("metrics_scale")
    rows = ["| metric | seconds | peak GiB |", "|---|---|---|"]
    for name, seconds in result["seconds"].items():
        rows.append(f"| `{name}` | {seconds} | {result['peak_gib'][f'after {name}']} |")
    return "\n".join(rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "modes": modes,
    "digits": digits,
    "headline": headline,
    "sensitivity": sensitivity,
    "referee": referee,
    "scale": scale,
}


def rewritten(text: str) -> str:
    for name, block in BLOCKS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if pattern.search(text):
            text = pattern.sub(lambda m, block=block: m[1] + block() + "\n" + m[2], text)
    return text


def main() -> int:
    stale = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        before = path.read_text()
        after = rewritten(before)
        if after != before:
            stale.append(str(path.relative_to(ROOT)))
            if "--check" not in sys.argv:
                path.write_text(after)
    print(f"{'stale' if '--check' in sys.argv else 'rewritten'}: {', '.join(stale) or 'nothing'}")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    raise SystemExit(main())
