"""Say how a run stands, finished or still running, from its files: its state (learning, converging, at
equilibrium, no longer improving), and faults with their evidence, the curves that show it and what to try.
Of a directory of seeds: how many have what, and each seed in a line.

  zerosum diagnose runs/digits-seed0
  zerosum diagnose runs/ring-seeds0-15
  zerosum diagnose runs/digits-seed0 --json     for a program to read
"""

from __future__ import annotations

import argparse

from zerosum.cli.output import say
from zerosum.cli.parsing import Parser, some_path

__all__ = ["parser", "run"]


def parser() -> Parser:
    p = Parser("diagnose", __doc__)
    p.add_argument("run", type=some_path, help="the directory of a run, or of its seeds")
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def run(args: argparse.Namespace) -> int:
    import json

    from zerosum.display import format_diagnoses, format_diagnosis
    from zerosum.run.examined import examine
    from zerosum.run.seeds import members

    seeds = [examine(path) for path in members(args.run)]
    if seeds:
        whole = [seed.as_dict() for seed in seeds]
        say(json.dumps(whole, indent=1) if args.json else format_diagnoses(args.run, seeds))
        return 0
    examined = examine(args.run)
    say(json.dumps(examined.as_dict(), indent=1) if args.json else format_diagnosis(examined))
    return 0
