"""The command line: verbs as a table, a function each. An error is one line; 2 means usage, 1 failure."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

if TYPE_CHECKING:
    from zerosum.evaluation import Judge
    from zerosum.recipe import Recipe
    from zerosum.run.run import Run, RunError
    from zerosum.run.seeds import StackedSeeds, SubprocessSeeds
    from zerosum.sampling import Sampler

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
        from zerosum.recipe import suggest

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
  zerosum train photos --data FOLDER --out runs/mine
  zerosum train digits --data mnist --watch thorough --on-fault stop
  zerosum train ring --G.width 64 --penalties.0.weight 0.5 --objective hinge
  zerosum train ring --seeds 16
"""


def train(args: list[str]) -> int:
    """play the game of a recipe; the same command again resumes it"""
    usage = "zerosum train RECIPE [options] [--any.recipe.field VALUE ...]"
    parser = _parser("train", usage=usage, description=_TRAIN)
    parser.add_argument("recipe", help="a preset or a .yaml file")
    parser.add_argument(
        "--data",
        help="ring, digits, mnist, ..., a folder of images or IDX files, x.npy, x.npz, x.csv, x.parquet, "
        "hf://name, package.module:function",
    )
    parser.add_argument("--out", type=Path, help="directory of the run (default: runs/RECIPE-seedN)")
    parser.add_argument("--steps", help="turns to play; a finished run given more steps goes on")
    parser.add_argument("--seed", help="where all randomness starts (default: 0)")
    parser.add_argument(
        "--seeds",
        type=_count,
        metavar="N",
        help="train N seeds from --seed on, together where that is faster",
    )
    parser.add_argument("--override", action="store_true", help="resume although the recipe has changed")
    parser.add_argument(
        "--on-fault", choices=["continue", "stop"], default="continue", help="default: continue, and say so"
    )
    parser.add_argument(
        "--follow-advice",
        action="store_true",
        help="at a fault, train again beside the run with what is advised, and say whether it helped",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    known, texts = _with_fields(parser, args)

    from zerosum import recipe as recipes

    texts |= {name: text for name in ("steps", "seed") if (text := getattr(known, name)) is not None}
    data = {"data": recipes.data_component(known.data)} if known.data is not None else {}
    recipe = recipes.load(known.recipe, data | {name: recipes.value(text) for name, text in texts.items()})
    if known.seeds is not None:
        return _train_seeds(recipe, known, args)
    out = known.out or Path("runs") / f"{recipe.name}-seed{recipe.seed}"
    first, before, error = _play(out, recipe, known, known.override)
    run = first
    if known.follow_advice:
        run, error = _follow(first, error, known)
    if error is not None:
        raise error
    if run is not first:  # a remedy, which goes on by a recipe of its own
        args = [str(run.path / "recipe.yaml"), "--out", str(run.path)]
    return _say_how_it_ended(run, before, known.quiet, args)


def _play(
    out: Path, recipe: Recipe, known: argparse.Namespace, override: bool
) -> tuple[Run, int, RunError | None]:
    """Train to the end: the run, the step it began from, and what stopped it."""
    from zerosum.display import display, loading
    from zerosum.run.run import Run, RunError

    with loading(known.quiet), Run.start(out, recipe, override) as run:
        before = run.game.step
        with display(run, known.quiet) as show, _stopping(run):
            try:
                for record in run.play(known.on_fault == "stop" or known.follow_advice):
                    show(record)
            except RunError as error:
                return run, before, error
    return run, before, None


def _follow(
    run: Run, error: RunError | None, known: argparse.Namespace, tries: int = 3
) -> tuple[Run, RunError | None]:
    """At a fault, up to so many runs, each with one thing changed as advised, told of and judged."""
    from zerosum.run.remedies import key, remedy, verdict

    first, tried = run, list[tuple[str, str]]()
    while run.stopped_by_fault and len(tried) < tries and (cure := remedy(first, tried)):
        print(f"\n{cure.fault}\n{cure}" if not tried else f"\n{cure}")
        tried.append(key(cure.advice))
        run, _, error = _play(cure.path, cure.recipe, known, override=True)
        if run.stop_reason and not run.stopped_by_fault:  # interrupted: too early to say
            break
        print(verdict(first, run, cure.fault))
    return run, error


def _train_seeds(recipe: Recipe, known: argparse.Namespace, args: list[str]) -> int:
    """Train a recipe on many seeds: as one computation where that can be, otherwise in processes."""
    from zerosum.display import loading, together
    from zerosum.recipe import RecipeError
    from zerosum.run import seeds

    if known.follow_advice:
        raise UsageError("--follow-advice is for one seed: leave out --seeds")
    numbers = seeds.numbered(recipe, known.seeds)
    out = known.out or Path("runs") / f"{recipe.name}-seeds{numbers[0]}-{numbers[-1]}"
    try:
        with loading(known.quiet):
            runs = seeds.StackedSeeds(out, recipe, known.seeds, known.override)
    except RecipeError:
        raise
    except ValueError as error:
        code, reason = _train_apart(out, recipe, known, str(error))
    else:
        with runs, loading(known.quiet), _stopping(runs), together(runs, known.quiet) as show:
            for found in runs.play(known.on_fault == "stop"):
                show(found)
        code, reason = int(any(run.stopped_by_fault for run in runs.runs)), runs.interrupted
    if reason:
        print(f"stopped by {reason}, saved in {out}", file=sys.stderr)
        print(f"to go on: zerosum train {shlex.join(args)}", file=sys.stderr)
        return 128 + signal.Signals[reason]
    result = seeds.summary(out, numbers)
    if not known.quiet:
        print(f"{seeds.table(result)}\nevery seed, and all that was read: {out / 'seeds.json'}")
    return code


def _train_apart(out: Path, recipe: Recipe, known: argparse.Namespace, why: str) -> tuple[int, str]:
    """Each seed in a process: the worst exit code, and what interrupted them."""
    from zerosum.run.seeds import SubprocessSeeds

    options = ["--on-fault", known.on_fault, *(["--override"] if known.override else [])]
    runs = SubprocessSeeds(out, recipe, known.seeds, options)
    worst = 0
    if not known.quiet:
        print(f"each seed in a process of its own: {why}", flush=True)
    with _stopping(runs):
        for seed, code in runs.play():
            worst = max(worst, code)
            if not known.quiet:
                print(f"seed {seed}: " + (f"ended with exit code {code}" if code else "finished"), flush=True)
    return worst, runs.interrupted


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seeds: give 1 or more")
    return int(text)


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
def _stopping(run: Run | StackedSeeds | SubprocessSeeds) -> Iterator[None]:
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
    if run.stopped_by_fault:
        print(f"stopped by {run.stop_reason} after step {step:,}, saved in {run.path}", file=sys.stderr)
        print(f"to see why: zerosum diagnose {shlex.quote(str(run.path))}", file=sys.stderr)
        return 1
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

  zerosum sample RUN --out grid.png                         a picture; columns are classes, if there are any
  zerosum sample RUN --grid 4x16 --class 3,5 --seed 1       4 rows, 16 columns, threes and fives in turn
  zerosum sample RUN --n 1000000 --out x.npy                an array, written part by part
  zerosum sample RUN --truncation 1 --out mild.png          z near the middle of the prior: less varied
  zerosum sample RUN --interpolate 8 --out path.png         a row from each of 8 samples to the next
  zerosum sample RUN --interpolate 8 --out path.gif         the same, moving, without end (.mp4 needs PyAV)
  zerosum sample RUN --nearest 2 --out beside.png           each sample with its 2 nearest training examples

Sample i of a seed is the same whatever --n, --out and --grid are.

The name of --out says what is written: .png a picture; .npy an array, uint8 [N, H, W] (grey) or [N, H, W, C]
(colour) for images, float32 [N, d] for vectors; .npz the same as "samples", with "labels" of a conditional
run; .csv vectors under the names of their columns; .gif and .mp4 an --interpolate.
"""
_ARRAYS = (".npy", ".npz", ".csv")
_FILMS = (".gif", ".mp4")


def sample(args: list[str]) -> int:
    """draw samples from a run: a picture or an array"""
    parser = _parser("sample", description=_SAMPLE)
    parser.add_argument("run", type=Path, help="the run's directory")
    parser.add_argument("--n", type=int, help="how many (default: 64, or what fills the grid)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("samples.png"),
        help="a .png, .npy, .npz, .csv, .gif or .mp4 file (default: samples.png)",
    )
    parser.add_argument("--grid", type=_grid, metavar="ROWSxCOLUMNS", help="of a picture, such as 4x16")
    parser.add_argument(
        "--class",
        dest="classes",
        type=_classes,
        default=(),
        metavar="A,B,...",
        help="classes of a conditional run, in turn: names where the data have them, such as those of a "
        "folder's sub-folders, or numbers from 0 (default: all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument(
        "--truncation",
        type=float,
        metavar="PSI",
        help="no coordinate of z beyond PSI: the truncated normal of BigGAN (a uniform prior is scaled "
        "to [-PSI, PSI]); 1 or less gives the more typical and less varied, 4 or more changes nothing",
    )
    parser.add_argument(
        "--interpolate",
        type=int,
        metavar="K",
        help="go from each of K samples to the next, and back to the first: on great circles where the "
        "prior is normal, on straight lines where it is uniform",
    )
    parser.add_argument(
        "--frames",
        type=int,
        help="pictures from one sample to the next (default: 10; in a film 25, a second)",
    )
    parser.add_argument(
        "--nearest",
        type=int,
        metavar="K",
        help="beside each sample its K nearest training examples, pixel by pixel, and how near held-out "
        "real ones come to theirs: so memorising shows",
    )
    parser.add_argument("--step", type=int, help="the checkpoint's step (default: the newest)")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        "--ema",
        dest="live",
        action="store_false",
        default=False,
        help="the running average of the weights, if it is kept (default)",
    )
    weights.add_argument("--live", action="store_true", help="the last weights, not their running average")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    known = parser.parse_args(args)
    _refuse_contradictions(known)

    from zerosum.display import loading
    from zerosum.run.files import replacing
    from zerosum.run.run import Run, RunError
    from zerosum.sampling import Sampler

    run = Run.open(known.run, known.step)
    for note in run.notes:
        print(f"zerosum: {note}", file=sys.stderr)
    sampler = Sampler(run, known.seed, known.live, known.classes, known.truncation)
    try:
        with loading(known.quiet), replacing(known.out) as file:
            said = _write_samples(sampler, known, file)
    except OSError as error:
        raise RunError(f"cannot write {known.out}: {error.strerror or error}") from error
    if not known.quiet:
        print("\n".join(said))
    return 0


def _grid(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise argparse.ArgumentTypeError(f"rows x columns are wanted, such as 4x16: got {text!r}")
    return int(rows), int(columns)


def _classes(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _refuse_contradictions(known: argparse.Namespace) -> None:
    """What can be said of the options of `sample` before anything is read."""
    n, out, grid, form = known.n, known.out, known.grid, known.out.suffix
    legs, frames, nearest, psi = known.interpolate, known.frames, known.nearest, known.truncation
    for wrong, message in (
        (n is not None and n < 1, f"--n {n}: ask for at least one sample"),
        (
            form not in (".png", *_ARRAYS, *_FILMS),
            f"--out {out}: the name should end in .png (a picture) or .npy (an array), or in "
            ".npz, .csv, .gif, .mp4 (see zerosum sample --help)",
        ),
        (form in _FILMS and legs is None, f"--out {out}: a film shows an --interpolate K: give that too"),
        (
            form == ".mp4" and not find_spec("av"),
            f"--out {out}: .mp4 needs PyAV: pip install av; .gif needs nothing",
        ),
        (legs is not None and legs < 2, f"--interpolate {legs}: a path needs two samples or more"),
        (legs is not None and form in _ARRAYS, f"--out {out}: --interpolate draws a .png, .gif or .mp4"),
        (
            legs is not None and (n, grid, nearest) != (None, None, None),
            "--interpolate K draws K samples and --frames between two: leave out --n, --grid and --nearest",
        ),
        (frames is not None and legs is None, "--frames is for --interpolate"),
        (frames is not None and frames < 2, f"--frames {frames}: two or more from one sample to the next"),
        (nearest is not None and nearest < 1, f"--nearest {nearest}: ask for at least one neighbour"),
        (nearest is not None and form != ".png", f"--out {out}: --nearest draws a .png"),
        (grid and form != ".png", f"--out {out}: --grid is for a .png"),
        (grid and n and n > grid[0] * grid[1], f"--n {n}: more than --grid has room for"),
        (psi is not None and not 0 < psi < float("inf"), f"--truncation {psi}: it should be above 0"),
    ):
        if wrong:
            raise UsageError(message)


def _write_samples(sampler: Sampler, known: argparse.Namespace, file: BinaryIO) -> list[str]:
    """Write what is asked for; returns what to say of it."""
    from zerosum import pictures, sampling

    form, of = known.out.suffix, f"of step {sampler.run.game.step:,}: {known.out}"
    if known.interpolate is not None and form in _FILMS:
        film = sampler.film(known.interpolate, known.frames or 25)
        {".gif": pictures.write_gif, ".mp4": pictures.write_mp4}[form](film, file)
        return [f"a film through {known.interpolate} samples {of}"]
    if known.interpolate is not None:
        sampler.strip(known.interpolate, known.frames or 10).save(file, format="PNG")
        return [f"the path through {known.interpolate} samples {of}"]
    if form in _ARRAYS:
        sampling.write(sampler, known.n or 64, file, form)
        return [f"{known.n or 64:,} samples {of}"]
    if known.grid and not sampler.of_images:
        raise sampling.SamplingError(f"--grid is for images: {known.run} makes points, drawn as a cloud")
    columns = known.grid[1] if known.grid else sampler.columns(known.n or 64)
    n = known.n or (known.grid[0] if known.grid else -(-64 // columns)) * columns
    if known.nearest is None:
        sampler.picture(n, columns).save(file, format="PNG")
        return [f"{n:,} samples {of}"]
    neighbours = sampler.neighbours(n, known.nearest)
    neighbours.picture(columns).save(file, format="PNG")
    return [f"{n:,} samples, each left of its nearest training examples, {of}", neighbours.line()]


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

    from zerosum.display import loading
    from zerosum.recipe import RecipeError
    from zerosum.run.run import RunError

    try:
        with loading(known.quiet):
            _evaluate(known, lambda text: None if known.quiet else print(text, flush=True))
    except RecipeError:
        raise
    except (ValueError, ImportError) as error:
        raise RunError(error) from error
    return 0


def _evaluate(known: argparse.Namespace, say: Callable[[str], None]) -> None:
    from zerosum import evaluation
    from zerosum.run.files import append

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
        for row in evaluation.evaluate(judge, subject.samples, names, subject.wanted, **subject.about):
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
    from zerosum.run.files import append

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


# diagnose ------------------------------------------------------------------------------------------------

_DIAGNOSE = """\
Say how a run stands, finished or still running, from its files: its state (learning, converging, at
equilibrium, no longer improving), and faults with their evidence, the curves that show it and what to try.

  zerosum diagnose runs/digits-seed0
  zerosum diagnose runs/digits-seed0 --json     for a program to read
"""


def diagnose(args: list[str]) -> int:
    """say how a run stands: its faults, the curves that show them, and what to try"""
    parser = _parser("diagnose", description=_DIAGNOSE)
    parser.add_argument("run", type=Path, help="the run's directory")
    parser.add_argument("--json", action="store_true", help="print JSON")
    known = parser.parse_args(args)

    import json

    from zerosum.display import told
    from zerosum.run.examined import examine

    seen = examine(known.run)
    print(json.dumps(seen.as_dict(), indent=1) if known.json else told(seen))
    return 0


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

    from zerosum.page.report import write

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

    from zerosum import claims as demonstration
    from zerosum.page import theory
    from zerosum.run import files
    from zerosum.run.run import RunError

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
        files.write(out / "theory.json", (json.dumps(result, indent=1) + "\n").encode())
        files.write(out / "theory.html", theory.page(rows, known.seed).encode())
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror or error}; give --out a directory") from error
    refused = [row for row in rows if not row.agrees]
    say(f"\n{len(rows) - len(refused)} of {len(rows)} rows agree; with figures: {out / 'theory.html'}")
    for row in refused:
        print(f"zerosum: disagrees: {row.topic}: {row.claim}", file=sys.stderr)
    return 1 if refused else 0


# bench ---------------------------------------------------------------------------------------------------

_BENCH = """\
Measure how fast the game of a recipe is played on this machine, and with which settings it is faster.

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


def bench(args: list[str]) -> int:
    """measure speed here: steps a second, the phases of a turn, and the best settings"""
    usage = "zerosum bench [RECIPE] [options] [--any.recipe.field VALUE ...]"
    parser = _parser("bench", usage=usage, description=_BENCH)
    parser.add_argument(
        "recipe",
        nargs="?",
        help="a preset or a .yaml file (default: mnist-dcgan if its data are there, or digits)",
    )
    parser.add_argument("--data", help="other data than the recipe's, as in `zerosum train`")
    parser.add_argument("--seconds", type=float, default=20.0, help="to measure for, about (default: 20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--quiet", action="store_true", help="do not say what is being measured")
    known, texts = _with_fields(parser, args)
    if not 0 < known.seconds < float("inf"):
        raise UsageError(f"--seconds {known.seconds}: it should be above 0")
    if known.json and not known.json.parent.is_dir():
        raise UsageError(f"--json {known.json}: there is no directory {known.json.parent}")

    import json

    from zerosum import recipe as recipes
    from zerosum.run import bench, files

    data = {"data": recipes.data_component(known.data)} if known.data is not None else {}
    fields = {name: recipes.value(text) for name, text in texts.items()}
    recipe = recipes.load(known.recipe or bench.default(), data | fields)
    live = sys.stderr.isatty()
    before, after = ("\r\033[K", "") if live else ("zerosum: ", "\n")

    def say(line: str) -> None:
        if not known.quiet:
            print(before + line, end=after, file=sys.stderr, flush=True)

    try:
        found = bench.measure(recipe, known.seconds, say)
    finally:
        if live:
            say("")
    print(bench.format_speed(found))
    if known.json:
        files.write(known.json, (json.dumps(found.as_dict(), indent=1) + "\n").encode())
    return 0


# recipes -------------------------------------------------------------------------------------------------


def recipes(args: list[str]) -> int:
    """list the presets, or print one in full as YAML"""
    parser = _parser(
        "recipes", description="List the presets, or print one with every field resolved, as YAML."
    )
    parser.add_argument("name", nargs="?", help="a preset or a .yaml file")
    known = parser.parse_args(args)

    from zerosum import recipe as table

    if known.name:
        print(table.dump(table.load(known.name)), end="")
        return 0
    for name, about in table.presets().items():
        print(f"{name:24s} {about}")
    return 0


VERBS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "sample": sample,
    "evaluate": evaluate,
    "diagnose": diagnose,
    "report": report,
    "theory": theory,
    "bench": bench,
    "recipes": recipes,
}
