"""What bounds a turn of the tutorial's DCGAN? Each of its convolutions, beside a matrix product of its size.

    python benchmarks/roofline.py [--threads 1] [--rounds 5]     half a minute of a core

The convolutions of a turn in bfloat16 are written down as they are played, then played alone: forwards, for
the gradient of the input, for that of the weights. The matrix product has as many operations: rows for the
places of all pictures, columns and terms for the channels, taken as large as the convolution's are. A
convolution, its product and a product of 2,048 rows alternate. Time is the processor's, of this process,
so that other programs on the machine count little.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import ledger
from speed import dcgan_game
from zerosum.run import runtime

RESULT = ledger.RESULTS / "roofline.json"
SIZE = 32
WINDOW = 0.04
"""Seconds of a window."""
PASSES = ("forward", "input", "weights")
aten = torch.ops.aten


class Convolution(NamedTuple):
    """One pass of a convolution: the shapes of its input, weights and output, and its step."""

    kind: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    y: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dtype: torch.dtype

    @property
    def product(self) -> tuple[int, int, int]:
        """Rows, terms and columns of the matrix product that it is."""
        places, terms, columns = self.y[0] * prod(self.y[2:]), prod(self.w[1:]), self.w[0]
        if self.kind == "forward":
            return places, terms, columns
        return (places, columns, terms) if self.kind == "input" else (columns, places, terms)

    @property
    def operations(self) -> int:
        return 2 * prod(self.product)

    @property
    def bytes(self) -> int:
        """Of what it must read and write, each once."""
        return (prod(self.x) + prod(self.w) + prod(self.y)) * self.dtype.itemsize


class Listening(TorchDispatchMode):
    """Writes down every convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[Convolution] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is aten.convolution.default:
            x, w, _, stride, padding, *_ = args
            self._add("forward", x, w, out, stride, padding)
        elif func is aten.convolution_backward.default:
            y, x, w, _, stride, padding, *_, wanted = args
            for kind, want in zip(PASSES[1:], wanted, strict=False):
                if want:
                    self._add(kind, x, w, y, stride, padding)
        return out

    def _add(self, kind: str, x: Tensor, w: Tensor, y: Tensor, *how: Any) -> None:
        shapes = [tuple(one.shape) for one in (x, w, y)]
        self.seen[Convolution._make([kind, *shapes, *map(tuple, how), x.dtype])] += 1


def play_alone(of: Convolution) -> Callable[[], Any]:
    """The pass by itself, on tensors laid out as in the game."""
    x, w, y = (
        torch.randn(shape).to(of.dtype).contiguous(memory_format=torch.channels_last)
        for shape in (of.x, of.w, of.y)
    )
    how = ([*of.stride], [*of.padding], [1, 1], False, [0, 0], 1)
    if of.kind == "forward":
        return partial(aten.convolution, x, w, None, *how)
    wanted = [of.kind == "input", of.kind == "weights", False]
    return partial(aten.convolution_backward, y, x, w, None, *how, wanted)


def product(m: int, k: int, n: int, dtype: torch.dtype) -> Callable[[], Any]:
    a, b, out = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype), torch.empty(m, n, dtype=dtype)
    return partial(torch.mm, a, b, out=out)


def seconds_of(call: Callable[[], Any], times: int) -> float:
    begun = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begun) / times


def alternated(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of each, the median of windows that alternate."""
    lasts = {name: seconds_of(call, 1) for name, call in calls.items()}
    lasts = {name: seconds_of(call, 1) for name, call in calls.items()}
    times = {name: max(1, int(WINDOW / max(last, 1e-6))) for name, last in lasts.items()}
    windows = [{name: seconds_of(call, times[name]) for name, call in calls.items()} for _ in range(rounds)]
    return {name: median(window[name] for window in windows) for name in calls}


@torch.no_grad()
def row(of: Convolution, count: int, rounds: int) -> dict[str, Any]:
    large = product(2048, 2048, 2048, of.dtype)
    calls = {"convolution": play_alone(of), "product": product(*of.product, of.dtype), "large": large}
    seconds = alternated(calls, rounds)
    return {
        "pass": of.kind,
        "input": of.x,
        "weights": of.w,
        "times a turn": count,
        "operations": of.operations,
        "bytes": of.bytes,
        "seconds": seconds["convolution"],
        "seconds of the product": seconds["product"],
        "peak": 2 * 2048**3 / seconds["large"],
    }


def measure(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    runtime.keep_memory()
    load = os.getloadavg()[0]
    shape = (1, SIZE, SIZE)
    game = dcgan_game(shape, "bf16")
    playing = game.play(torch.rand(1024, *shape) * 2 - 1, sys.maxsize)
    next(playing)
    with Listening() as listening:
        next(playing)
    rows = [row(of, count, args.rounds) for of, count in listening.seen.items()]
    turns = alternated(
        {"turn": partial(next, playing), "large": product(2048, 2048, 2048, torch.bfloat16)}, 5
    )
    result = {
        **ledger.origin(),
        "model": ledger.model(),
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "rounds": args.rounds,
        "batch": game.batch,
        "turn": turns["turn"],
        "peak": 2 * 2048**3 / turns["large"],
        "rows": rows,
    }
    ledger.write(RESULT, result)


def total(rows: list[dict[str, Any]], name: str) -> float:
    return sum(row["times a turn"] * row[name] for row in rows)


def table() -> str:
    """Each convolution of a turn, and what the turn would take if all were as fast as a product."""
    result = ledger.result("roofline")
    rows = sorted(result["rows"], key=lambda row: -row["times a turn"] * row["seconds"])
    lines = [
        (
            row["pass"],
            "x".join(map(str, row["input"][1:])),
            "x".join(map(str, row["weights"])),
            row["times a turn"],
            f"{row['operations'] / 1e9:.2f}",
            f"{row['operations'] / row['bytes']:.0f}",
            f"{1e3 * row['seconds']:.2f}",
            f"{row['operations'] / row['seconds'] / row['peak']:.0%}",
            f"{row['operations'] / row['seconds of the product'] / row['peak']:.0%}",
        )
        for row in rows
    ]
    head = ("pass", "input", "weights", "times", "GFLOP", "FLOP a byte", "ms", "of the peak", "a product's")
    work, convolutions = total(rows, "operations"), total(rows, "seconds")
    products, turn, peak = total(rows, "seconds of the product"), result["turn"], result["peak"]
    machine = result["machine"]
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    load = f"load average {min(result['load']):.1f} to {max(result['load']):.1f}"
    told = (
        f"A turn takes {1e3 * turn:.0f} ms for {work / 1e9:.1f} GFLOP of convolutions, "
        f"{work / turn / peak:.0%} of the {peak / 1e9:,.0f} GFLOP/s of a large product.\n"
        f"Played alone its convolutions take {1e3 * convolutions:.0f} ms, {work / convolutions / peak:.0%} "
        f"of that peak, which no turn made of them can pass;\nall the rest takes "
        f"{1e3 * (turn - convolutions):.0f} ms. With convolutions as fast as products of their sizes, "
        f"{1e3 * products:.0f} ms, and the rest as it is,\na turn would reach "
        f"{work / (products + turn - convolutions) / peak:.0%}.\n\n{result['model']}, {threads}, torch "
        f"{machine['torch']}, {result['rounds']} rounds, time of the processor; {load}."
    )
    return f"{ledger.table(head, lines)}\n\n{told}"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5, help="windows of each")


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"roofline": table})

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
