"""What several processes cost: images a second against one process, and averaging gradients, by their size.

    python benchmarks/averaging.py            a few minutes on two cores

`mnist-dcgan` is played by two processes of one thread each, and by one process of two threads, in short
windows in turn (a, b, b, a, ...), so that other programs on the machine meet both sides alike. Beside the
clock stands the processor's time of all threads of a side. Whoever waits for a message must get a processor
at once when it comes: on a machine where others compute, `chrt --rr 1` before the command sees to that.
Then two processes average a vector of so many numbers, as they do a player's gradient, again and again.
From its size follows what averaging takes on other links: a ring of w ranks passes 2 (w - 1) / w of
the bytes through each link, and 2 (w - 1) messages one after the other.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist

import forked
import ledger
from zerosum import recipe as recipes
from zerosum.game import parallel

RESULT = ledger.RESULTS / "averaging.json"
RECIPE, TURNS = "mnist-dcgan", 10
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
LINKS = {  # bytes a second of a link, seconds of a message
    "8 GPUs of one machine, 400 GB/s each": (8, 400e9, 5e-6),
    "512 GPUs, 50 GB/s (400 Gb/s) each": (512, 50e9, 10e-6),
}


class Side:
    """Processes that play a window of turns when they are told to; each says its processor's time."""

    def __init__(
        self, world: int, threads: int, work: Callable[[], Callable[[int], None]], folder: Path
    ) -> None:
        self.pipes = [(os.pipe(), os.pipe()) for _ in range(world)]
        self.world = world

        def serve() -> int:
            torch.set_num_threads(threads)
            (order, _), (_, answer) = self.pipes[int(os.environ["RANK"])]
            play = work()
            with os.fdopen(order) as orders, os.fdopen(answer, "w", buffering=1) as answers:
                while (line := orders.readline()) and (turns := int(line)):
                    before = time.process_time()
                    play(turns)
                    answers.write(f"{time.process_time() - before}\n")
            parallel.leave()
            return 0

        self.children = forked.start(world, serve, folder)
        self.orders = [os.fdopen(pair[0][1], "w", buffering=1) for pair in self.pipes]
        self.answers = [os.fdopen(pair[1][0]) for pair in self.pipes]

    def play(self, turns: int) -> tuple[float, float]:
        """Seconds by the clock, and of the processor, that a window took."""
        begun = time.monotonic()
        for order in self.orders:
            order.write(f"{turns}\n")
        lines = [answer.readline() for answer in self.answers]
        if not all(lines):
            raise SystemExit("\n".join(child.said() for child in self.children))
        return time.monotonic() - begun, sum(map(float, lines))

    def end(self) -> None:
        for order in self.orders:
            order.write("0\n")
        for child in self.children:
            child.wait()


def game() -> Callable[[int], None]:
    """This process's share of the game, ready to play."""
    ranks = parallel.join()
    place = {"rank": ranks.rank, "world": ranks.world} if ranks else {}
    played, source = recipes.build(recipes.load(RECIPE), **place)
    if ranks:
        ranks.share(played)
    turns = played.play(source, 2**62)

    def play(count: int) -> None:
        for _ in range(count):
            next(turns)

    return play


def vector(size: int) -> Callable[[], Callable[[int], None]]:
    def ready() -> Callable[[int], None]:
        ranks = parallel.join()
        assert ranks is not None
        gradient = torch.ones(size)

        def play(count: int) -> None:
            for _ in range(count):
                ranks.average_([gradient])
            dist.barrier()

        return play

    return ready


def throughput(folder: Path, rounds: int) -> dict[str, Any]:
    """Two processes over one, by the clock and by the processor's time: medians over neighbouring windows."""
    sides = {"two processes": Side(2, 1, game, folder), "one process": Side(1, 2, game, folder)}
    for side in sides.values():
        side.play(2)  # what is done once
    order = [name for i in range(rounds) for name in (list(sides) if i % 2 == 0 else [*sides][::-1])]
    windows = [(name, sides[name].play(TURNS)) for name in order]
    for side in sides.values():
        side.end()
    ratios: list[tuple[float, ...]] = []
    for (a, first), (b, second) in pairwise(windows):
        if a != b:
            two, one = (first, second) if a == "two processes" else (second, first)
            ratios.append(tuple(y / x for x, y in zip(two, one, strict=True)))
    found: dict[str, Any] = {"pairs": len(ratios), "turns a window": TURNS}
    for i, name in enumerate(("by the clock", "by the processor's time")):
        values = sorted(ratio[i] for ratio in ratios)
        quarter = len(values) // 4
        found[name] = [round(x, 3) for x in (median(values), values[quarter], values[-1 - quarter])]
    return found


def averaging(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        side, count = Side(2, 1, vector(size), folder), max(2, min(50, 2_000_000 // size))
        side.play(1)
        times = [side.play(count) for _ in range(5)]
        side.end()
        clock, processor = (median(x) / count for x in zip(*times, strict=True))
        rows.append(
            {"numbers": size, "clock ms": round(1e3 * clock, 3), "processor ms": round(500 * processor, 3)}
        )
        print(rows[-1], flush=True)
    return rows


def weights() -> dict[str, int]:
    played, _ = recipes.build(recipes.load(RECIPE))
    return {
        name: sum(p.numel() for p in player.parameters) for name, player in (("G", played.G), ("D", played.D))
    }


def measure(args: argparse.Namespace) -> None:
    recipes.build_source(recipes.load(RECIPE))  # imported once, before there are children
    with tempfile.TemporaryDirectory() as place:
        found = {"throughput": throughput(Path(place), args.rounds), "averaging": averaging(Path(place))}
    ledger.write(RESULT, {**ledger.origin(), "load": args.load, "weights": weights(), **found})


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=12, help="windows of each side")
    parser.add_argument("--load", default="", help="what the machine was doing besides, for the record")


def lacks() -> list[str]:
    if not RESULT.exists():  # not measured yet, and no page says that it was
        return []
    ratio = ledger.read(RESULT)["throughput"]["by the clock"][0]
    return [] if ratio >= 0.9 else [f"two processes play {ratio} times as many images: 0.9 is asked"]


def ring(size: float, world: int, speed: float, delay: float) -> float:
    """Seconds of one averaging of so many float32."""
    return 2 * (world - 1) / world * 4 * size / speed + 2 * (world - 1) * delay


def text() -> str:
    result = ledger.read(RESULT)
    speed, own = result["throughput"], max(result["weights"].values())
    clock, processor = (speed[f"by the {name}"] for name in ("clock", "processor's time"))
    how, beside = result["command"].split(" --load")[0], result["load"] and ", " + result["load"]
    said = (
        f"Measured (`{how}`{beside}): two processes of one thread play {clock[0]:.2f} × the images a second "
        f"of `{RECIPE}` that one process of two threads does (quartiles {clock[1]:.2f} to {clock[2]:.2f}, "
        f"{speed['pairs']} pairs of neighbouring windows of {speed['turns a window']} turns; "
        f"{processor[0]:.2f} × in the same time of processors). A player's gradient is averaged once a turn: "
        "what that takes between two processes by gloo, and the arithmetic for two other machines (a ring, "
        "see the script; nccl has quicker ways for short messages; nothing of that has been measured):"
    )
    head = ["numbers", "by the clock", "processor's time", *LINKS]
    sizes = {row["numbers"]: row for row in result["averaging"]} | {own: None, 100_000_000: None}
    rows = []
    for size in sorted(sizes):
        row = sizes[size]
        name = f"{size:,}" + (f" (the larger player of `{RECIPE}`)" if size == own else "")
        here = ["–", "–"] if row is None else [f"{row['clock ms']:.3g} ms", f"{row['processor ms']:.3g} ms"]
        rows.append([name, *here, *(f"{1e3 * ring(size, *link):.3g} ms" for link in LINKS.values())])
    return f"{said}\n\n{ledger.table(head, rows)}"


BENCHMARK = ledger.Benchmark(__doc__, measure, options, parts={"averaging": text}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
