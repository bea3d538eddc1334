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


def stacked() -> str:
    """The 1,000 modes of stacked MNIST by objective and penalties, and what that says of R3GAN's Table 1."""
    result = read("stacked_mnist")
    real, seconds = result["real"], result["cpu_seconds"]
    rows = [
        "| objective and penalties | R3GAN's Table 1 | modes | KL to uniform, nats | sure | turns | failed |",
        "|---|" + "---|" * 6,
        f"| *real test digits* | | {real['modes']:,} | {real['kl'][0]:.3f} | {real['confidence']:.3f} | | |",
    ]
    for summary in result["summary"]:
        paper, read_at_all = summary["paper"], summary["kl"] is not None
        cells = [
            f"`{summary['configuration']}`",
            f"{paper[0]:,}, KL {paper[1]:.3f}" if isinstance(paper, list) else paper or "",
            over_seeds(summary["modes"], 0),
            over_seeds(summary["kl"], 3) if read_at_all else "",
            over_seeds(summary["confidence"], 3) if read_at_all else "",
            f"{summary['turns'][0]:,.0f}",
            f"{summary['failed']} of {len(summary['seeds'])}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    said = [words.split(":")[0] for _, _, words in result["verdict"]]
    counts = ", ".join(f"{said.count(word)} {word}" for word in dict.fromkeys(said))
    return "\n".join(
        [
            *rows,
            "",
            f"Each game had {seconds:,.0f} CPU seconds on one thread; {real['samples']:,} samples are read,\n"
            f"of which a perfect uniform generator would show a KL divergence of {result['floor']}.\n"
            f"Of the {len(said)} claims of R3GAN's Table 1, at this budget: {counts}.",
            "",
            *(f"- {claim}: **{words}** ({found})." for claim, found, words in result["verdict"]),
        ]
    )


def over_seeds(pair: list[float | None], digits: int) -> str:
    """Mean ± standard error, which one seed has not."""
    mean, error = pair
    return f"{mean:,.{digits}f}" + ("" if error is None else f" ± {error:,.{digits}f}")


def mnist() -> str:
    """The recipe for small images beside the loop that tutorials teach, as one judge sees them."""
    ours, textbook = read("mnist"), read("textbook")["minutes"]
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
            row("textbook DCGAN, its best minute", f"{best['seconds']:.0f}", best),
        ]
    )


def conditional() -> str:
    """Whether the judge sees the digits that were asked for, class by class."""
    result = read("conditional")
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


def faults() -> str:
    """Faults on purpose: found, in how many steps, and false alarms."""
    rows = [
        "| fault | ways | runs | found | no other named first | median steps | most | allowed |",
        "|---|" + "---|" * 7,
    ]
    for line in read("faults")["summary"]:
        if line["fault"] == "healthy":
            alarms = f"{line['false_alarms']} of {line['runs']} runs raised a fault"
            rows.append(f"| none: healthy | {line['ways']} | {line['runs']} | {alarms} | | | | |")
        else:
            cells = [f"{line['found']}", f"{line['named_first']}", line["median_steps"], line["most_steps"]]
            cells = [line["fault"], line["ways"], line["runs"], *cells, line["allowed_steps"]]
            rows.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(rows)


def repairs() -> str:
    """What followed from following the advice."""
    rows = [
        "| fault | provoked by | first advice | coverage before | after | repaired |",
        "|---|" + "---|" * 5,
    ]
    for line in read("faults_repair")["summary"]:
        fields = {a.split(": ", 1)[1].split(" = ")[0] for a in line["first_advice"]}
        advice = "; ".join(f"`{field}`" for field in sorted(fields))
        rows.append(
            f"| {line['fault']} | {line['scenario']} | {advice} | {line['before']:.2f} | {line['after']:.2f} "
            f"| {line['repaired']} of {line['runs']} |"
        )
    return "\n".join(rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "modes": modes,
    "digits": digits,
    "headline": headline,
    "sensitivity": sensitivity,
    "referee": referee,
    "scale": scale,
    "stacked": stacked,
    "mnist": mnist,
    "conditional": conditional,
    "faults": faults,
    "repairs": repairs,
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
