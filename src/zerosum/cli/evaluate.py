"""Judge samples against real data that training never saw. Every figure comes with its 95 % interval and with
its floor: what the same metric says of two halves of the real data.

  zerosum evaluate runs/digits-seed0               the newest checkpoint; rows go to its evaluation.jsonl
  zerosum evaluate runs/digits-seed0 --all         every checkpoint, and which was the best
  zerosum evaluate samples.npy --data mnist        samples of any software: .npy, .npz or a folder of images
  zerosum evaluate runs/a --compare runs/b runs/c  paired differences, and which are significant
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from zerosum.cli.output import Failure, say
from zerosum.cli.parsing import Parser, UsageError, some_path, some_text, whole

if TYPE_CHECKING:
    from zerosum.evaluation import Judge

__all__ = ["parser", "run"]

_FEATURES = ["pixels", "classifier", "encoder", "efficientnet", "inception"]


def parser() -> Parser:
    p = Parser("evaluate", __doc__)
    p.add_argument("target", type=some_path, help="a run, a .npy or .npz file, or a folder of images")
    p.add_argument("--data", type=some_text, help="the real data (default: what the run was trained on)")
    p.add_argument("--metrics", help="names, separated by commas (default: all that suit the data)")
    p.add_argument(
        "--features", choices=_FEATURES, help="default: classifier where there are labels, else encoder"
    )
    p.add_argument(
        "--n", type=whole(2), default=5000, help="samples, and real examples at most (default: 5000)"
    )
    p.add_argument("--step", type=whole(0), help="the checkpoint's step (default: the newest)")
    p.add_argument("--all", action="store_true", help="every checkpoint of the run")
    p.add_argument(
        "--compare", type=some_path, nargs="+", metavar="OTHER", help="runs or samples to compare with"
    )
    p.add_argument("--live", action="store_true", help="the last weights in place of their running average")
    p.add_argument(
        "--seed", type=whole(0), default=0, help="of the noise, of the split and of the judges (default: 0)"
    )
    p.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    return p


def run(args: argparse.Namespace) -> int:
    if args.all and (args.compare or args.step is not None):
        raise UsageError("--all judges every checkpoint: leave out --step and --compare")

    from zerosum.display import loading
    from zerosum.recipe import RecipeError

    try:
        with loading(args.quiet):
            _evaluate(args, (lambda text: None) if args.quiet else say)
    except RecipeError:
        raise
    except (ValueError, ImportError) as error:
        raise Failure(error) from error
    return 0


def _evaluate(args: argparse.Namespace, say: Callable[[str], None]) -> None:
    from zerosum import evaluation
    from zerosum.run.files import append

    judge = evaluation.judge_for(args.target, args.data, args.features, args.n, args.seed)
    names = [name.strip() for name in args.metrics.split(",")] if args.metrics else []
    evaluation.check_names(names, judge.real)
    say(f"real data: {judge.real.name}, {judge.real.split}, {len(judge.real.held_out):,} examples")
    if args.compare:
        _compare(judge, args, names, say)
        return
    rows: list[dict[str, Any]] = []
    for subject in evaluation.subjects(args.target, args.n, args.seed, args.step, args.all, args.live):
        say(f"{subject.name}: {len(subject.samples):,} samples; rows go to {subject.results}")
        say(evaluation.HEADER)
        for row in evaluation.evaluate(judge, subject.samples, names, subject.wanted, **subject.about):
            say(evaluation.line(row))
            if "skipped" not in row:
                append(subject.results, row)
                rows.append(row)
    if args.all:
        say("best of the checkpoints that the run keeps:\n" + "\n".join(evaluation.best(rows)))


def _compare(
    judge: Judge, args: argparse.Namespace, names: Sequence[str], say: Callable[[str], None]
) -> None:
    from zerosum import evaluation
    from zerosum.run.files import append

    first, *others = (
        next(evaluation.subjects(path, args.n, args.seed, args.step, live=args.live))
        for path in (args.target, *args.compare)
    )
    for second in others:
        say(f"{second.name} minus {first.name}, paired; 95 % intervals over samples, the real data fixed:")
        for row in evaluation.compare(judge, first.samples, second.samples, names):
            say(evaluation.difference_line(row))
            if "skipped" not in row:
                append(first.results, {"first": first.name, "second": second.name, **row})
