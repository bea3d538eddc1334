"""Time and memory of the large metrics at 50,000 samples of 2,048 features.

    python benchmarks/metrics_scale.py

Asked: the Frechet and the kernel distance in under 60 s, precision, recall, density and coverage in under 5
minutes and 4 GiB, on 2 cores. The features are random with a decaying spectrum, as those of images are.
Writes results/metrics_scale.json beside this file; `--check` reads it and exits with 1 unless the full size
was run and everything asked was met.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

import ledger
from zerosum import metrics
from zerosum.randomness import stream

RESULT = ledger.RESULTS / "metrics_scale.json"
FULL = 50_000, 2_048
ASKED = {"frechet_distance": 60.0, "kernel_distance": 60.0, "prdc": 300.0}
GIB = 4.0


def features(n: int, d: int, seed: int) -> torch.Tensor:
    scale = torch.arange(1, d + 1).rsqrt()
    return torch.randn(n, d, generator=stream(seed, "metrics_scale")).mul_(scale)


def peak() -> float:
    """Largest resident memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(n: int, d: int) -> dict[str, object]:
    real, fake = features(n, d, 0), features(n, d, 1).mul_(1.05)
    seconds, values, memory = {}, {}, {"data alone": round(peak(), 2)}
    for name in ASKED:
        begun = time.perf_counter()
        result = getattr(metrics, name)(real, fake, space="random")
        seconds[name] = round(time.perf_counter() - begun, 1)
        values[name] = [str(e) for e in result] if isinstance(result, tuple) else str(result)
        memory[f"after {name}"] = round(peak(), 2)
        print(name, seconds[name], "s", values[name], memory, flush=True)
    return {"n": n, "d": d, "seconds": seconds, "peak_gib": memory, "values": values}


def scale() -> str:
    """Time and memory of the costly metrics."""
    result = ledger.result("metrics_scale")
    rows = ["| metric | seconds | peak GiB |", "|---|---|---|"]
    for name, seconds in result["seconds"].items():
        rows.append(f"| `{name}` | {seconds} | {result['peak_gib'][f'after {name}']} |")
    return "\n".join(rows)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--n", type=int, default=FULL[0])
    parser.add_argument("--d", type=int, default=FULL[1])


def lacks() -> list[str]:
    result = ledger.read(RESULT)
    full = (result["n"], result["d"]) == FULL
    fast = all(result["seconds"][name] < limit for name, limit in ASKED.items())
    small = max(result["peak_gib"].values()) < GIB
    return [] if full and fast and small else [f"full size: {full}, in time: {fast}, in memory: {small}"]


BENCHMARK = ledger.Benchmark(
    __doc__,
    lambda args: ledger.write(RESULT, measure(args.n, args.d) | {"machine": ledger.machine()}),
    options,
    {"scale": scale},
    lacks=lacks,
)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
