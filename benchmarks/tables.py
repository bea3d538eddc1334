"""Writes the numbers of the docs from the committed results: whatever stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``.

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
    rows = ["| recipe | seeds | updates | modes | high quality | worst seed | reverse KL | seconds a seed |", "|---|" + "---|" * 7]
    for summary in result["summary"]:
        mean = summary["mean_and_standard_error"]
        steps = next(row["steps"] for row in result["rows"] if row["recipe"] == summary["recipe"])
        full = {"ring": 8, "grid": 25}[summary["recipe"]]
        rows.append(
            f"| `{summary['recipe']}` | {summary['seeds']} | {steps:,} | {mean['modes'][0]:.1f} of {full} | {pm(mean['high_quality'])} "
            f"| {summary['worst_high_quality']:.3f} | {pm(mean['reverse_kl'])} | {mean['seconds'][0]:.0f} |"
        )
    return "\n".join(rows)


def digits() -> str:
    """What a classifier of the real digits reads in a thousand samples."""
    result = read("digits")
    return (
        f"A logistic regression that reads {result['accuracy_on_real_test']:.1%} of the real test digits right (mean confidence "
        f"{result['confidence_on_real_test']:.3f}) finds all {result['classes']} classes among {result['samples']:,} samples; the KL divergence of "
        f"their histogram to uniform is {result['class_kl']:.3f} nats and the mean confidence {result['confidence']:.3f}."
    )


BLOCKS: dict[str, Callable[[], str]] = {"modes": modes, "digits": digits}


def rewritten(text: str) -> str:
    for name, block in BLOCKS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
        if pattern.search(text):
            text = pattern.sub(lambda m, block=block: m[1] + block() + m[2], text)
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
