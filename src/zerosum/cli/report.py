"""Write the report of a run: one HTML file with its samples, curves, metrics and recipe. It needs no network.

zerosum report runs/digits-seed0                            writes runs/digits-seed0/report.html
zerosum report runs/digits-seed0 --out mine.html
"""

from __future__ import annotations

import argparse

from zerosum.cli.output import say
from zerosum.cli.parsing import Parser, some_path

__all__ = ["parser", "run"]


def parser() -> Parser:
    p = Parser("report", __doc__)
    p.add_argument("run", type=some_path, help="the run's directory")
    p.add_argument("--out", type=some_path, help="the file to write (default: report.html in the run)")
    p.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    return p


def run(args: argparse.Namespace) -> int:
    from zerosum.page.report import write

    target = write(args.run, args.out)
    if not args.quiet:
        say(f"report: {target}")
    return 0
