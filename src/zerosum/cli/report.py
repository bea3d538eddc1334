"""Write the report of a run: one HTML file with its samples, curves, metrics and recipe. It needs no network.
Of a directory of seeds: every seed, and their means.

zerosum report runs/digits-seed0                            writes runs/digits-seed0/report.html
zerosum report runs/digits-seed0 --out mine.html
zerosum report runs/ring-seeds0-15
"""

from __future__ import annotations

import argparse

from zerosum.cli.output import say
from zerosum.cli.parsing import Parser, some_path

__all__ = ["parser", "run"]


def parser() -> Parser:
    p = Parser("report", __doc__)
    p.add_argument("run", type=some_path, help="the directory of a run, or of its seeds")
    p.add_argument("--out", type=some_path, help="the file to write (default: report.html in the run)")
    p.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    return p


def run(args: argparse.Namespace) -> int:
    from zerosum.page.report import write

    target = write(args.run, args.out)
    if not args.quiet:
        say(f"report: {target}")
    return 0
