"""Measure how fast the game of a recipe is played on this machine, and with which settings it is faster.

  zerosum bench                                     mnist-dcgan where its data are there, otherwise digits
  zerosum bench digits --seconds 5                  shorter, and so less certain
  zerosum bench photos --data FOLDER --batch 256    your data; any field of a recipe, as in `zerosum train`
  zerosum bench digits --json speed.json            all of it, for a program to read

What is said, and in what units:

  ms a turn  where the time of one turn goes (k steps of D and one of G). "G forward, for D" makes the fakes
             that D is shown; "D backward" includes what penalties add to it; "the rest" is losses and checks
  steps/s    turns a second, without instruments, pictures and checkpoints; the median of several windows,
             between which the settings take turns, with the slowest and the fastest window
  images/s   real examples that D is shown in a second
  GFLOP      10^9 multiplications or additions, in matrix products and convolutions, backward included
  peak       GFLOP/s of this machine in square matrix products, at that precision and with those threads;
             share is what part of it the game reaches

The last line names the best setting, as options for `zerosum train`. bf16 is named where it is at least 1.15
times as fast. Other programs that work meanwhile cost speed: more so where there are more threads.
"""

from __future__ import annotations

import argparse
import sys

from zerosum.cli.output import say, say_error, writing
from zerosum.cli.parsing import Parser, UsageError, recipe_of, some_path, some_text

__all__ = ["parser", "run"]


def parser() -> Parser:
    usage = "zerosum bench [RECIPE] [options] [--any.recipe.field VALUE ...]"
    p = Parser("bench", __doc__, fields=True, usage=usage)
    p.add_argument("recipe", nargs="?", help="a preset or a .yaml file")
    p.add_argument("--data", type=some_text, help="other data than the recipe's, as in `zerosum train`")
    p.add_argument("--seconds", type=float, default=20.0, help="to measure for, about (default: 20)")
    p.add_argument("--json", type=some_path, metavar="FILE", help="write all that was measured")
    p.add_argument("--quiet", action="store_true", help="do not say what is being measured")
    return p


def run(args: argparse.Namespace) -> int:
    if not 0 < args.seconds < float("inf"):
        raise UsageError(f"--seconds {args.seconds}: it should be above 0")
    if args.json and not args.json.parent.is_dir():
        raise UsageError(f"--json {args.json}: there is no directory {args.json.parent}")

    import json

    from zerosum.run import bench, files

    recipe = recipe_of(args, args.recipe or bench.default())
    live = sys.stderr.isatty()

    def progress(line: str) -> None:
        if live and not args.quiet:
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif not args.quiet:
            say_error(line)

    try:
        result = bench.measure(recipe, args.seconds, progress)
    finally:
        if live:
            progress("")
    say(bench.format_speed(result))
    if args.json:
        with writing(args.json):
            files.write(args.json, (json.dumps(result.as_dict(), indent=1) + "\n").encode())
    return 0
