"""Is a turn as fast as on an older commit? Turns a second, new over old, of the same games side by side.

    python benchmarks/turn_speed.py                   against the engine of ee8671b
    python benchmarks/turn_speed.py --only 'ring'     some games; those of the result stay
    python benchmarks/turn_speed.py --against HEAD    against the last commit; writes nothing

Each commit has a process of one thread that keeps the game ready; they play short windows of turns in turn
(old, new, new, old, ...), and the figure is the median of the ratios of neighbouring windows. What is counted
is the processor's time of the process, so that other programs meet both sides alike, and little. Two
processes of one commit may differ by several parts in a hundred for as long as they live: each game is
started anew several times.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import ledger
import same_bytes

RESULT = ledger.RESULTS / "turn_speed.json"
GAMES = ("ring", "digits", "mnist-dcgan", "16 seeds of ring")
WINDOW = 0.15
"""Seconds of a window of turns."""
ROUNDS = 16
STARTS = 7
ENOUGH = 0.98


class Side:
    """The process of a commit."""

    def __init__(self, tree: Path, game: str) -> None:
        command = [sys.executable, same_bytes.__file__, "--serve", game]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.child = subprocess.Popen(command, env=same_bytes.environment(tree), **pipes)

    def seconds(self, turns: int) -> float:
        assert self.child.stdin is not None and self.child.stdout is not None
        self.child.stdin.write(f"{turns}\n")
        self.child.stdin.flush()
        return float(self.child.stdout.readline())

    def end(self) -> None:
        self.child.communicate()


def ratios(old: Side, new: Side) -> tuple[list[float], int]:
    """Speed of the new over that of the old in each pair of neighbouring windows, and the turns of one."""
    for side in (old, new):
        side.seconds(5)  # what is done once
    turns = max(1, round(WINDOW / (old.seconds(5) / 5)))
    order = [(old, new) if i % 2 == 0 else (new, old) for i in range(ROUNDS)]
    windows = [(side is new, side.seconds(turns)) for pair in order for side in pair]
    both = [pair for pair in pairwise(windows) if pair[0][0] != pair[1][0]]  # neighbours, one of each side
    return [first[1] / second[1] if second[0] else second[1] / first[1] for first, second in both], turns


def compared(old_tree: Path, new_tree: Path, names: list[str], say: Any) -> dict[str, Any]:
    games: dict[str, Any] = {}
    for name in names:
        found, turns = list[float](), 0
        for _ in range(STARTS):
            old, new = Side(old_tree, name), Side(new_tree, name)
            try:
                more, turns = ratios(old, new)
            finally:
                old.end()
                new.end()
            found += more
        found.sort()
        quarter = len(found) // 4
        games[name] = {
            "new over old": round(median(found), 4),
            "quartiles": [round(found[quarter], 4), round(found[-1 - quarter], 4)],
            "pairs": len(found),
            "turns a window": turns,
        }
        say(f"{name}: {games[name]}")
    return games


def measure(args: argparse.Namespace) -> None:
    before = ledger.read(RESULT, {"games": {}})["games"]
    with same_bytes.checkout(args.against) as tree:
        games = compared(tree, ledger.ROOT, [name for name in GAMES if fnmatch(name, args.only)], print)
    if args.against == same_bytes.FIRST:
        ledger.write(RESULT, {**ledger.origin(), "against": args.against, "games": before | games})


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--against", default=same_bytes.FIRST, metavar="COMMIT")
    parser.add_argument("--only", default="*", metavar="PATTERN")


def lacks() -> list[str]:
    games = ledger.read(RESULT)["games"]
    slow = {name: game["new over old"] for name, game in games.items() if game["new over old"] < ENOUGH}
    return [
        f"a turn of {name} is {ratio} times as fast as before: {ENOUGH} is asked"
        for name, ratio in slow.items()
    ]


BENCHMARK = ledger.Benchmark(__doc__, measure, options, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
