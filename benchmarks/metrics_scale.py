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
from pathlib import Path

import torch

from ledger import machine, read, write
from zerosum import metrics
from zerosum.randomness import stream

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


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--d", type=int, default=2_048)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "metrics_scale.json")
    parser.add_argument("--check", action="store_true", help="judge the committed result, measure nothing")
    known = parser.parse_args()
    if not known.check:
        known.out.parent.mkdir(exist_ok=True)
        write(known.out, measure(known.n, known.d) | {"machine": machine()})
    result = read(known.out)
    full = (result["n"], result["d"]) == (50_000, 2_048)
    fast = all(result["seconds"][name] < limit for name, limit in ASKED.items())
    passed = full and fast and max(result["peak_gib"].values()) < GIB
    print(
        "passed"
        if passed
        else f"not passed (full size: {full}, times: {result['seconds']}, {result['peak_gib']})"
    )
    return 0 if passed or not known.check else 1


if __name__ == "__main__":
    raise SystemExit(main())
