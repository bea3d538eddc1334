"""Judge samples against real data that training never saw. Every figure comes with its 95 % interval and with
its floor: what the same metric says of two halves of the real data.

  zerosum evaluate runs/digits-seed0               the newest checkpoint; rows go to its evaluation.jsonl
  zerosum evaluate runs/mine --metrics prdc,mine.metrics:spread                     some, one of your own
  zerosum evaluate runs/digits-seed0 --all         every checkpoint, and which was the best
  zerosum evaluate real.csv made.csv               samples of any software: what train reads and sample writes
  zerosum evaluate RUN --where "sex=Female"        rows under a condition, by real rows that meet it
  zerosum evaluate made/ --data photos/            folders, at the size of the samples
  zerosum evaluate runs/a --compare runs/b runs/c  paired differences, and which are significant
  zerosum evaluate runs/ring-seeds0-7              the runs of all seeds, the mean and its interval over them
  zerosum evaluate A-seeds --compare B-seeds       one method against another, paired by seed
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerosum.cli.output import Failure, say, say_notes
from zerosum.cli.parsing import Parser, UsageError, some_names, some_path, some_text, step_of, whole

if TYPE_CHECKING:
    from zerosum.evaluation import Judge, Subject

__all__ = ["parser", "run"]

_MOST = 2**25  # samples that are judged, of the smallest examples
_FEATURES = ["auto", "pixels", "classifier", "encoder", "filters", "efficientnet", "inception"]


def parser() -> Parser:
    p = Parser("evaluate", __doc__)
    p.add_argument(
        "target", type=some_path, help="a run, a directory of seeds, a file or a folder of samples"
    )
    p.add_argument("made", nargs="?", type=some_path, help="samples, where the target is the real data")
    p.add_argument("--data", type=some_text, help="the real data (default: what the run was trained on)")
    p.add_argument(
        "--where", help='of a table: conditions that the rows meet, such as "sex=Female and age>60"'
    )
    p.add_argument("--predict", metavar="COLUMN", help="of a table: what utility is measured by")
    p.add_argument(
        "--held-out",
        type=some_path,
        metavar="FILE",
        help="of a table: real rows that nobody has learnt from (default: the tenth that train leaves out)",
    )
    p.add_argument(
        "--metrics",
        type=some_names,
        default=(),
        help="names, or package.module:name, separated by commas (default: all that suit the data)",
    )
    p.add_argument(
        "--features",
        choices=_FEATURES,
        default="auto",
        help="default: classifier where there are labels, else encoder; filters where real data are few",
    )
    p.add_argument(
        "--n", type=whole(2, _MOST), default=5000, help="samples, and real examples at most (default: 5000)"
    )
    p.add_argument("--step", type=step_of, help="the checkpoint's step, or best (default: the newest)")
    p.add_argument("--all", action="store_true", help="every checkpoint of the run")
    p.add_argument(
        "--compare", type=some_path, nargs="+", metavar="OTHER", help="runs, seeds or samples to compare with"
    )
    p.add_argument("--live", action="store_true", help="the last weights in place of their running average")
    p.add_argument(
        "--seed", type=whole(0), default=0, help="of the noise, of the split and of the judges (default: 0)"
    )
    p.add_argument(
        "--page", type=some_path, metavar="FILE", help="of a table: write the columns, real and made, as HTML"
    )
    p.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    return p


def run(args: argparse.Namespace) -> int:
    if args.all and (args.compare or args.step is not None):
        raise UsageError("--all judges every checkpoint: leave out --step and --compare")

    if args.made is not None:
        if args.data is not None:
            raise UsageError("REAL MADE and --data both say what is real: leave one out")
        if (args.target / "recipe.yaml").is_file():
            raise UsageError(f"{args.target} is a run, not real data: judge it alone, or give --compare")
        args.data, args.target = str(args.target), args.made

    from zerosum.recipe import RecipeError

    try:
        with _progress(args.quiet) as progress:
            _evaluate(args, progress)
    except RecipeError:
        raise
    except (ValueError, ImportError) as error:
        if hasattr(error, "exit_code"):
            raise
        raise Failure(error) from error
    return 0


class _Progress:
    """A line on the terminal of what is being done, and lines of results above it."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.live = not quiet and sys.stderr.isatty()
        self.width, self.begun, self.shown = 0, time.monotonic(), ""

    def __call__(self, what: str) -> None:
        if self.live and what != self.shown:
            line = f"  {what} ({time.monotonic() - self.begun:.0f} s)"[:100]
            print(f"\r{line:{self.width}s}", end="", file=sys.stderr, flush=True)
            self.width, self.shown = len(line), what

    def clear(self) -> None:
        if self.width:
            print(f"\r{'':{self.width}s}\r", end="", file=sys.stderr, flush=True)
        self.width = 0

    def say(self, text: str) -> None:
        self.clear()
        if not self.quiet and text:
            say(text)


@contextmanager
def _progress(quiet: bool) -> Iterator[_Progress]:
    progress = _Progress(quiet)
    try:
        yield progress
    finally:
        progress.clear()


def _evaluate(args: argparse.Namespace, progress: _Progress) -> None:
    from zerosum import evaluation

    of_table: dict[str, Any] = {"where": args.where, "predict": args.predict}
    if args.held_out is not None:
        from zerosum.data.tables import read_sheet

        of_table["unseen"] = read_sheet(args.held_out)
    options = args.data, args.features, args.n, args.seed, progress
    judge = evaluation.judge_for(args.target, *options, **of_table)
    names = args.metrics
    evaluation.chosen(names, judge.real)  # what cannot be is said before anything is made
    own = args.data is None  # of a run's own data `train` has said all but what is wrong now
    say_notes(judge.real.notes, args.quiet or own)
    count = f"{len(judge.compared.judged):,} examples"
    progress.say(f"real data: {judge.real.name}, {judge.compared.split}, {count}")
    seeds = bool(evaluation.runs_of_seeds(args.target))
    if args.compare:
        (_compare_seeds if seeds else _compare)(judge, args, names, progress)
        return
    rows: list[dict[str, Any]] = []
    for subject in _subjects(args.target, judge, args, args.all):
        found = _rows(judge, subject, names, progress)
        rows += found
        if args.page is not None:
            _write_page(args.page, judge, subject, found, args.data)
            progress.say(f"page: {args.page}")
    if seeds and not args.all:
        progress.say(f"over the seeds; interval of the mean:\n{evaluation.HEADER}")
        for row in evaluation.summarised(rows):
            progress.say(evaluation.seed_line(row))
    if args.all:
        progress.say("best of the checkpoints that are kept:\n" + "\n".join(evaluation.best(rows)))


def _write_page(
    path: Path, judge: Judge, subject: Subject, rows: Sequence[dict[str, Any]], data: str | None
) -> None:
    from zerosum.data.columns import Columns
    from zerosum.page.columns import page
    from zerosum.run.files import write

    codec, real = judge.real.codec, judge.real
    if not isinstance(codec, Columns):
        raise ValueError(f"--page shows the columns of a table, and {real.name} has none: zerosum report RUN")
    rows_of_both = [judge.view(examples, "sheet") for examples in (real.train, subject.samples)]
    write(
        path,
        page(
            subject.name, f"beside {data or real.name}", rows, rows_of_both[0], rows_of_both[1], codec
        ).encode(),
    )


def _subjects(target: Path, judge: Judge, args: argparse.Namespace, every: bool = False) -> Iterator[Subject]:
    from zerosum import evaluation

    return evaluation.subjects(
        target, judge.real, args.n, args.seed, args.step, every, args.live, args.where, judge.progress
    )


def _rows(
    judge: Judge, subject: Subject, names: Sequence[str], progress: _Progress, quietly: bool = False
) -> list[dict[str, Any]]:
    """The rows of a subject, shown unless `quietly` and kept beside it."""
    from zerosum import evaluation
    from zerosum.evaluation.rows import unsuited

    show: Callable[[str], None] = (lambda text: None) if quietly else progress.say
    if not quietly:
        say_notes(subject.samples.notes, progress.quiet)
    show(f"{subject.name}: {len(subject.samples):,} samples; rows go to {subject.results}")
    show(evaluation.HEADER)
    rows: list[dict[str, Any]] = []
    for row in evaluation.evaluate(judge, subject.samples, names, subject.wanted, **subject.about):
        if row.get("applies", True):
            show(evaluation.line(row))
        rows.append(row)
        if "skipped" not in row:
            _keep(subject.results, row)
    show(unsuited(rows))
    return [row for row in rows if "skipped" not in row]


def _keep(results: Path, row: dict[str, Any]) -> None:
    from zerosum.run.files import append
    from zerosum.run.log import Log

    if results.name == "evaluation.jsonl":
        Log(results.parent).add_evaluation(row)
    else:
        append(results, row)


def _compare(judge: Judge, args: argparse.Namespace, names: Sequence[str], progress: _Progress) -> None:
    from zerosum import evaluation

    if (many := next(filter(evaluation.runs_of_seeds, args.compare), None)) is not None:
        raise ValueError(f"{many} is a directory of seeds, and {args.target} is not: compare like with like")
    first, *others = (next(_subjects(path, judge, args)) for path in (args.target, *args.compare))
    for subject in (first, *others):
        say_notes(subject.samples.notes, progress.quiet)
    for second in others:
        progress.say(
            f"{second.name} minus {first.name}, paired; 95 % intervals over samples, real data fixed:"
        )
        for row in evaluation.compare(judge, first.samples, second.samples, names):
            if row.get("applies", True):
                progress.say(evaluation.difference_line(row))
            if "skipped" not in row:
                _keep(first.results, {"first": first.name, "second": second.name, **row})


def _compare_seeds(judge: Judge, args: argparse.Namespace, names: Sequence[str], progress: _Progress) -> None:
    from zerosum import evaluation

    def rows(target: Path) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for subject in _subjects(target, judge, args):
            progress(subject.name)
            found += _rows(judge, subject, names, progress, quietly=True)
        return found

    first = rows(args.target)
    for other in args.compare:
        if not evaluation.runs_of_seeds(other):
            raise ValueError(f"{other} is no directory of seeds, as {args.target} is: compare like with like")
        progress.say(f"{other} minus {args.target}, paired by seed; 95 % intervals over seeds:")
        for row in evaluation.compare_seeds(first, rows(other)):
            progress.say(evaluation.difference_line(row))
