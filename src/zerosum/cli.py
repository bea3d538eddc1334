"""The command line: verbs as a table, a function each. An error is one line; 2 means usage, 1 failure."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

if TYPE_CHECKING:
    from zerosum.evaluation import Judge
    from zerosum.runs import Run

__all__ = ["main"]


class UsageError(Exception):
    """A command that cannot be understood."""

    exit_code = 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def _parser(verb: str, **kw: Any) -> _Parser:
    return _Parser(
        prog=f"zerosum {verb}", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kw
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    if "" not in sys.path:
        sys.path.append("")  # my_module:network stands where the command is given
    try:
        code = _verb(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("zerosum: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except OSError as error:
        _let_go_of_output()
        if not isinstance(error, BrokenPipeError):  # the reader of our output has had enough
            print(f"zerosum: {error.filename or 'the output'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:  # a defect
            raise
        print(f"zerosum: {error}", file=sys.stderr)
        return code


def _let_go_of_output() -> None:
    """Where the output cannot be written, Python shall not try again as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _verb(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(_help())
        return 0
    if args[0] == "--version":
        from zerosum import __version__

        print(f"zerosum {__version__}")
        return 0
    if args[0] not in VERBS:
        from zerosum.recipes import suggest

        raise UsageError(f"there is no verb {args[0]!r}{suggest(args[0], list(VERBS))}")
    return VERBS[args[0]](args[1:])


def _help() -> str:
    lines = [f"  {verb:10s} {(run.__doc__ or '').splitlines()[0]}" for verb, run in VERBS.items()]
    return "\n".join(
        [
            "zerosum trains generative adversarial networks as a measured two-player game.",
            "",
            *lines,
            "",
            "Begin with:   zerosum train digits",
            "Learn more:   zerosum VERB --help",
        ]
    )


# train ---------------------------------------------------------------------------------------------------

_TRAIN = """\
Train a recipe: a preset (`zerosum recipes` lists them) or a .yaml file. The same command again resumes the
run, exactly.

Any field of the recipe can be set by its dotted name, `zerosum recipes NAME` shows them all:

  zerosum train ring
  zerosum train digits --data mnist --out runs/mine
  zerosum train ring --G.width 64 --penalties.0.weight 0.5 --objective hinge
"""


def train(args: list[str]) -> int:
    """play the game of a recipe; the same command again resumes it"""
    usage = "zerosum train RECIPE [options] [--any.recipe.field VALUE ...]"
    parser = _parser("train", usage=usage, description=_TRAIN)
    parser.add_argument("recipe", help="a preset or a .yaml file")
    parser.add_argument(
        "--data", help="ring, digits, mnist, ..., package.module:function, a folder of IDX files"
    )
    parser.add_argument("--out", type=Path, help="directory of the run (default: runs/RECIPE-seedN)")
    parser.add_argument("--steps", help="turns to play; a finished run given more steps goes on")
    parser.add_argument("--seed", help="where all randomness starts (default: 0)")
    parser.add_argument("--override", action="store_true", help="resume although the recipe has changed")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    known, texts = _with_fields(parser, args)

    from zerosum import recipes
    from zerosum.display import display
    from zerosum.runs import Run

    texts |= {name: text for name in ("steps", "seed") if (text := getattr(known, name)) is not None}
    data = {"data": recipes.data_part(known.data)} if known.data is not None else {}
    recipe = recipes.load(known.recipe, data | {name: recipes.value(text) for name, text in texts.items()})
    out = known.out or Path("runs") / f"{recipe.name}-seed{recipe.seed}"
    with Run.start(out, recipe, known.override) as run:
        before = run.game.step
        with display(run, known.quiet) as show, _stopping(run):
            for record in run.play():
                show(record)
    return _say_how_it_ended(run, before, known.quiet, args)


def _with_fields(parser: _Parser, args: list[str]) -> tuple[argparse.Namespace, dict[str, str]]:
    """The verb's own options, and fields of a recipe: ``--G.width 64``, ``--G.width=64``, ``G.width 64``."""
    own: list[str] = []
    pairs: list[str] = []
    rest = iter(args)
    for token in rest:
        name, equals, text = token.partition("=")
        if not name.startswith("--") or name in parser._option_string_actions:
            own.append(token)
        else:
            pairs += [name.removeprefix("--"), *([text] if equals else islice(rest, 1))]
    known, bare = parser.parse_known_args(own)
    pairs = bare + pairs
    if len(pairs) % 2:
        raise UsageError(
            f"{pairs[-1]!r} has no value: set recipe fields as --field VALUE (see {parser.prog} --help)"
        )
    return known, dict(zip(pairs[::2], pairs[1::2], strict=True))


@contextmanager
def _stopping(run: Run) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run after the present turn; a second one at once."""

    def stop(number: int, frame: object) -> None:
        run.stop(signal.Signals(number).name)
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_how_it_ended(run: Run, before: int, quiet: bool, args: list[str]) -> int:
    step = run.game.step
    if run.stop_reason:
        print(f"stopped by {run.stop_reason} after step {step:,}, saved in {run.path}", file=sys.stderr)
        print(f"to go on: zerosum train {shlex.join(args)}", file=sys.stderr)
        return 128 + signal.Signals[run.stop_reason]
    if not quiet:
        pictures = sorted((run.path / "samples").glob("[0-9]*.png"))
        again = " (it was before; give more --steps to go on)" if step == before else ""
        print(f"finished: {step:,} steps, in {run.path}{again}")
        if pictures:
            print(f"samples:  {pictures[-1]}")
        print(f"next:     zerosum sample {shlex.quote(str(run.path))} --n 64 --out samples.png")
    return 0


# sample --------------------------------------------------------------------------------------------------

_SAMPLE = """\
Draw samples from the generator of a run.

  zerosum sample runs/digits-seed0 --out grid.png           a picture
  zerosum sample runs/digits-seed0 --n 10000 --out x.npy    an array

Arrays are uint8 [N, H, W] (grey) or [N, H, W, C] (colour) for images, float32 [N, d] for vectors.
"""


def sample(args: list[str]) -> int:
    """draw samples from a run: a picture or an array"""
    parser = _parser("sample", description=_SAMPLE)
    parser.add_argument("run", type=Path, help="the run's directory")
    parser.add_argument("--n", type=int, default=64, help="how many (default: 64)")
    parser.add_argument(
        "--out", type=Path, default=Path("samples.png"), help="a .png or .npy file (default: samples.png)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--step", type=int, help="the checkpoint's step (default: the newest)")
    parser.add_argument("--live", action="store_true", help="the last weights, not their running average")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    known = parser.parse_args(args)
    if known.n < 1:
        raise UsageError(f"--n {known.n}: ask for at least one sample")
    writers = {".png": _write_png, ".npy": _write_npy}
    if known.out.suffix not in writers:
        raise UsageError(f"--out {known.out}: the name should end in .png (a picture) or .npy (an array)")

    from zerosum.checkpoints import replacing
    from zerosum.runs import Run, RunError

    run = Run.open(known.run, known.step)
    for note in run.notes:
        print(f"zerosum: warning: {note}", file=sys.stderr)
    try:
        with replacing(known.out) as file:
            writers[known.out.suffix](run, known, file)
    except OSError as error:
        raise RunError(f"cannot write {known.out}: {error.strerror or error}") from error
    if not known.quiet:
        print(f"{known.n:,} samples of step {run.game.step:,}: {known.out}")
    return 0


def _write_png(run: Run, known: argparse.Namespace, file: BinaryIO) -> None:
    run.draw(known.n, known.seed, known.live).save(file, format="PNG")


def _write_npy(run: Run, known: argparse.Namespace, file: BinaryIO) -> None:
    """Part by part, so that any number of samples fits."""
    from numpy.lib import format as npy

    parts = run.samples(known.n, known.seed, known.live)
    first = next(parts)
    form = {
        "descr": npy.dtype_to_descr(first.dtype),
        "fortran_order": False,
        "shape": (known.n, *first.shape[1:]),
    }
    npy.write_array_header_1_0(file, form)
    for part in chain([first], parts):
        file.write(part.tobytes())


# evaluate ------------------------------------------------------------------------------------------------

_FEATURES = ["pixels", "classifier", "encoder", "efficientnet", "inception"]
_EVALUATE = """\
Judge samples against real data that training never saw. Every figure comes with its 95 % interval and with
its floor: what the same metric says of two halves of the real data.

  zerosum evaluate runs/digits-seed0               the newest checkpoint; rows go to its evaluation.jsonl
  zerosum evaluate runs/digits-seed0 --all         every checkpoint, and which was the best
  zerosum evaluate samples.npy --data mnist        samples of any software: .npy, .npz or a folder of images
  zerosum evaluate runs/a --compare runs/b runs/c  paired differences, and which are significant
"""


def evaluate(args: list[str]) -> int:
    """judge a run, a checkpoint, or anybody's samples against held-out real data"""
    parser = _parser("evaluate", description=_EVALUATE)
    parser.add_argument("target", type=Path, help="a run, a .npy or .npz file, or a folder of images")
    parser.add_argument("--data", help="the real data (default: what the run was trained on)")
    parser.add_argument("--metrics", help="names, separated by commas (default: all that suit the data)")
    parser.add_argument(
        "--features", choices=_FEATURES, help="default: classifier where there are labels, else encoder"
    )
    parser.add_argument(
        "--n", type=int, default=5000, help="samples, and real examples at most (default: 5000)"
    )
    parser.add_argument("--step", type=int, help="the checkpoint's step (default: the newest)")
    parser.add_argument("--all", action="store_true", help="every checkpoint of the run")
    parser.add_argument(
        "--compare", type=Path, nargs="+", metavar="OTHER", help="runs or samples to compare with"
    )
    parser.add_argument(
        "--live", action="store_true", help="the last weights in place of their running average"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the noise, of the split and of the judges (default: 0)"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    known = parser.parse_args(args)
    if known.n < 2:
        raise UsageError(f"--n {known.n}: ask for at least two samples")
    if known.all and (known.compare or known.step is not None):
        raise UsageError("--all judges every checkpoint: leave out --step and --compare")

    from zerosum.recipes import RecipeError
    from zerosum.runs import RunError

    try:
        _evaluate(known, lambda text: None if known.quiet else print(text, flush=True))
    except RecipeError:
        raise
    except (ValueError, ImportError) as error:
        raise RunError(error) from error
    return 0


def _evaluate(known: argparse.Namespace, say: Callable[[str], None]) -> None:
    from zerosum import evaluation
    from zerosum.checkpoints import append

    judge = evaluation.judge_for(known.target, known.data, known.features, known.n, known.seed)
    names = [name.strip() for name in known.metrics.split(",")] if known.metrics else []
    evaluation.check_names(names, judge.real)
    say(f"real data: {judge.real.name}, {judge.real.split}, {len(judge.real.held_out):,} examples")
    if known.compare:
        _compare(judge, known, names, say)
        return
    rows: list[dict[str, Any]] = []
    for subject in evaluation.subjects(known.target, known.n, known.seed, known.step, known.all, known.live):
        say(f"{subject.name}: {len(subject.samples):,} samples; rows go to {subject.results}")
        say(evaluation.HEADER)
        for row in evaluation.evaluate(judge, subject.samples, names, **subject.about):
            say(evaluation.line(row))
            if "skipped" not in row:
                append(subject.results, row)
                rows.append(row)
    if known.all:
        say("best of the checkpoints that the run keeps:\n" + "\n".join(evaluation.best(rows)))


def _compare(
    judge: Judge, known: argparse.Namespace, names: Sequence[str], say: Callable[[str], None]
) -> None:
    from zerosum import evaluation
    from zerosum.checkpoints import append

    first, *others = (
        next(evaluation.subjects(path, known.n, known.seed, known.step, live=known.live))
        for path in (known.target, *known.compare)
    )
    for second in others:
        say(f"{second.name} minus {first.name}, paired; 95 % intervals over samples, the real data fixed:")
        for row in evaluation.compare(judge, first.samples, second.samples, names):
            say(evaluation.difference_line(row))
            if "skipped" not in row:
                append(first.results, {"first": first.name, "second": second.name, **row})


# report --------------------------------------------------------------------------------------------------

_REPORT = """\
Write the report of a run: one HTML file with its samples, curves, metrics and recipe. It needs no network.

  zerosum report runs/digits-seed0                            writes runs/digits-seed0/report.html
"""


def report(args: list[str]) -> int:
    """write the report of a run: one HTML file to look at and to hand on"""
    parser = _parser("report", description=_REPORT)
    parser.add_argument("run", type=Path, help="the run's directory")
    parser.add_argument("--out", type=Path, help="the file to write (default: report.html in the run)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    known = parser.parse_args(args)

    from zerosum.report import write

    target = write(known.run, known.out)
    if not known.quiet:
        print(f"report: {target}")
    return 0


# theory --------------------------------------------------------------------------------------------------

_THEORY = """\
Show the theory of the game on the engine that plays it: each claim predicted, measured and compared.

The table is printed, and written with figures to theory.html (and as numbers to theory.json) in --out.
The exit code is 1 if a row disagrees. Half a minute.
"""


def theory(args: list[str]) -> int:
    """show the theory on the engine: every claim predicted beside measured"""
    parser = _parser("theory", description=_THEORY)
    parser.add_argument("--seed", type=int, default=0, help="where all randomness starts (default: 0)")
    parser.add_argument("--out", type=Path, help="directory of the page (default: runs/theory-seedN)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    known = parser.parse_args(args)

    import json

    import torch

    from zerosum import checkpoints, demonstration
    from zerosum.runs import RunError

    torch.set_num_threads(1)  # small networks gain nothing by more, and one order of sums gives one table
    rows, say = [], (lambda line: None) if known.quiet else print
    say(f"{'':9s}  {'measured':>22s}    {'predicted':20s}  claim")
    for row in demonstration.rows(known.seed):
        if not rows or rows[-1].topic != row.topic:
            say(f"\n{row.topic}")
        rows.append(row)
        say(row.as_line())
    out = known.out or Path("runs") / f"theory-seed{known.seed}"
    result = {"seed": known.seed, "rows": [row.as_dict() for row in rows]}
    try:
        out.mkdir(parents=True, exist_ok=True)
        checkpoints.write(out / "theory.json", (json.dumps(result, indent=1) + "\n").encode())
        checkpoints.write(out / "theory.html", demonstration.page(rows, known.seed).encode())
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror or error}; give --out a directory") from error
    refused = [row for row in rows if not row.agrees]
    say(f"\n{len(rows) - len(refused)} of {len(rows)} rows agree; with figures: {out / 'theory.html'}")
    for row in refused:
        print(f"zerosum: disagrees: {row.topic}: {row.claim}", file=sys.stderr)
    return 1 if refused else 0


# recipes -------------------------------------------------------------------------------------------------


def recipes(args: list[str]) -> int:
    """list the presets, or print one in full as YAML"""
    parser = _parser(
        "recipes", description="List the presets, or print one with every field resolved, as YAML."
    )
    parser.add_argument("name", nargs="?", help="a preset or a .yaml file")
    known = parser.parse_args(args)

    from zerosum import recipes as table

    if known.name:
        print(table.dump(table.load(known.name)), end="")
        return 0
    for name, preset in table.PRESETS.items():
        print(f"{name:24s} {preset['about']}")
    return 0


VERBS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "sample": sample,
    "evaluate": evaluate,
    "report": report,
    "theory": theory,
    "recipes": recipes,
}
