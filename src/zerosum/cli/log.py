"""Send what a run has logged to a tracker: numbers, pictures, events and faults in words, the recipe. Of a
run that has ended as of one that is played, which `train --log` follows by itself.

  zerosum log runs/mine --to tensorboard             then: tensorboard --logdir runs/mine/tensorboard
  zerosum log runs/mine --to wandb                   also mlflow and trackio, if they are installed
"""

from __future__ import annotations

import argparse

from zerosum.cli.output import say
from zerosum.cli.parsing import TRACKERS, Parser, some_path

__all__ = ["parser", "run"]


def parser() -> Parser:
    p = Parser("log", __doc__)
    p.add_argument("run", type=some_path, help="the run's directory, or a directory of seeds")
    p.add_argument("--to", required=True, choices=TRACKERS, help="the tracker")
    p.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    return p


def run(args: argparse.Namespace) -> int:
    from zerosum.evaluation import runs_of_seeds
    from zerosum.trackers import send

    for run in runs_of_seeds(args.run) or [args.run]:
        sent = send(run, args.to)
        if not args.quiet:
            say(f"{run}: {sent}")
    return 0
