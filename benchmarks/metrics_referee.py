"""The referee's interval against the exact Jensen-Shannon divergence, on mixtures whose densities are known.

    python benchmarks/metrics_referee.py --trials 200

Asked: in at least 95 % of 200 trials the interval contains the exact divergence or lies below it. Every trial
draws fresh samples and splits them with a fresh seed; the exact value is a quadrature (or Monte Carlo, in 20
dimensions). Writes results/metrics_referee.json beside this file; `--check` reads it and exits with 1 unless
every pair met what is asked.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import ledger
from zerosum import data, metrics, theory
from zerosum.randomness import stream

RESULT = ledger.RESULTS / "metrics_referee.json"
PAIRS = {
    "the same ring": (data.ring(std=0.05), data.ring(std=0.05)),
    "one mode of eight lost": (data.ring(std=0.05), data.mixture(data.ring().modes[:7], 0.05)),
    "modes three times too wide": (data.ring(std=0.01), data.ring(std=0.03)),
    "uneven weights": (data.mixture([-2.0, 2.0], 0.5), data.mixture([-2.0, 2.0], 0.5, weights=[1, 3])),
    "shifted": (data.gaussian(2), data.mixture([[1.0, 0.0]], 1.0)),
    "nearly apart": (data.gaussian(2), data.mixture([[5.0, 0.0]], 1.0)),
    "20 dimensions": (data.gaussian(20), data.gaussian(20, mean=0.2)),
}


def judge(name: str, n: int, trials: int) -> dict[str, object]:
    p, q = PAIRS[name]
    exact = theory.jsd(p, q)
    begun = time.perf_counter()
    results = []
    for t in range(trials):
        x, y = p.sample(n, stream(t, name, "real")), q.sample(n, stream(t, name, "fake"))
        results.append(metrics.referee(x, y, seed=t, space="points"))
    held = sum(e.low <= exact.value + exact.error for e in results)
    row: dict[str, object] = {
        "pair": name,
        "n": n,
        "trials": trials,
        "exact": round(exact.value, 5),
        "held": held,
        "share_held": held / trials,
        "mean_value": round(float(np.mean([e.value for e in results])), 5),
        "mean_low": round(float(np.mean([e.low for e in results])), 5),
        "seconds_each": round((time.perf_counter() - begun) / trials, 2),
    }
    print(row, flush=True)
    return row


def referee() -> str:
    """The referee's interval against the exact divergence."""
    rows = ["| densities | exact JSD | mean bound | mean low end | interval holds |", "|---|---|---|---|---|"]
    for row in ledger.result("metrics_referee"):
        rows.append(
            f"| {row['pair']} | {row['exact']:.4f} | {row['mean_value']:.4f} | {row['mean_low']:.4f} "
            f"| {row['held']} of {row['trials']} |"
        )
    return "\n".join(rows)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=200, help="for each pair")
    parser.add_argument("--n", type=int, default=1_000, help="examples of each set")


def lacks() -> list[str]:
    return [
        f"{row['pair']}: held in {row['held']} of {row['trials']} trials; 95 % of 200 are asked"
        for row in ledger.read(RESULT)
        if row["share_held"] < 0.95 or row["trials"] < 200
    ]


BENCHMARK = ledger.Benchmark(
    __doc__,
    lambda args: ledger.write(RESULT, [judge(name, args.n, args.trials) for name in PAIRS]),
    options,
    {"referee": referee},
    lacks=lacks,
)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
