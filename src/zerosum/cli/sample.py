"""Draw samples from the generator of a run, of each run in a directory of seeds, or of an exported folder.

  zerosum sample RUN --out grid.png                         a grid of images, or points over real ones
  zerosum sample RUN --grid 4x16 --class 3,5 --seed 1       4 rows, 16 columns, threes and fives in turn
  zerosum sample RUN --class all                            each class in turn, a column each
  zerosum sample RUN --n 50000 --out made/                  a folder of PNG, with a sub-folder for each class
  zerosum sample RUN --n 1000000 --out x.npy                an array, written part by part
  zerosum sample RUN --n 1000 --out x.csv                   a table with the columns of the data
  zerosum sample RUN --where "sex=Female and age>60" --out x.csv   rows of a table that meet conditions
  zerosum sample RUN --truncation 1 --out mild.png          z near the middle of the prior: less varied
  zerosum sample RUN --interpolate 8 --out path.gif         a film from each of 8 samples to the next
  zerosum sample RUN --nearest 2 --out beside.png           each sample with its 2 nearest training examples

Sample i of a seed is the same whatever --n, --out and --grid are. Classes come as often as the data have
them, unless --class says otherwise.

The name of --out says what is written: .png a picture (of an --interpolate: a row from each sample to the
next); a folder images; .npy an array, uint8 [N, H, W] (grey) or [N, H, W, C] (colour) for images, numbers in
the data's own units for anything else; .npz the same as "samples", with "labels"; .csv, .tsv, .parquet
tables; .gif and .mp4 (needs PyAV) an --interpolate.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerosum.cli.output import say, say_notes, writing
from zerosum.cli.parsing import Parser, UsageError, some_names, some_path, step_of, whole

if TYPE_CHECKING:
    from zerosum.sampling import Sampler

__all__ = ["parser", "run"]

_FILMS = (".gif", ".mp4")


def parser() -> Parser:
    p = Parser("sample", __doc__)
    p.add_argument(
        "run", type=some_path, help="the run's directory, a directory of seeds, an exported folder"
    )
    p.add_argument("--n", type=whole(1), help="how many (default: 64, or what fills the grid)")
    p.add_argument(
        "--out", type=some_path, default="samples.png", help="a file or a folder (default: samples.png)"
    )
    p.add_argument("--grid", type=_grid, metavar="ROWSxCOLUMNS", help="of a picture, such as 4x16")
    p.add_argument(
        "--class",
        dest="classes",
        type=some_names,
        default=(),
        metavar="A,B,...",
        help="classes of a conditional run, in turn, by the names or numbers that the data have for them; "
        "all for each of them in turn (default: as often as the data have them)",
    )
    p.add_argument("--seed", type=whole(0), default=0, help="of the noise and the classes (default: 0)")
    p.add_argument(
        "--where",
        metavar="CONDITIONS",
        help="of a table: only rows that meet them, on any columns, such as 'sex=Female and age>60', "
        "'city in Paris|Rome' or 'income=' (missing)",
    )
    p.add_argument(
        "--truncation",
        type=float,
        metavar="PSI",
        help="no coordinate of z beyond PSI: the truncated normal of BigGAN (a uniform prior is scaled "
        "to [-PSI, PSI]); 1 or less gives the more typical and less varied, 4 or more changes nothing",
    )
    p.add_argument(
        "--interpolate",
        type=int,
        metavar="K",
        help="go from each of K samples to the next, and back to the first: on great circles where the "
        "prior is normal, on straight lines where it is uniform",
    )
    p.add_argument(
        "--frames",
        type=int,
        help="pictures from one sample to the next (default: 10; in a film 25, a second)",
    )
    p.add_argument(
        "--nearest",
        type=int,
        metavar="K",
        help="beside each sample its K nearest training examples, pixel by pixel, and how near held-out "
        "real ones come to theirs: so memorising shows",
    )
    p.add_argument("--step", type=step_of, help="the checkpoint's step, or best (default: the newest)")
    weights = p.add_mutually_exclusive_group()
    weights.add_argument(
        "--ema",
        dest="live",
        action="store_false",
        default=False,
        help="the running average of the weights, if it is kept (default)",
    )
    weights.add_argument("--live", action="store_true", help="the last weights, not their running average")
    p.add_argument(
        "--trust", action="store_true", help="import the code that an exported folder names for its network"
    )
    p.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    return p


def run(args: argparse.Namespace) -> int:
    form = _form(args.out)
    _refuse_contradictions(args, form)
    for path, out in _targets(args):
        lines = _sample(path, out, form, args)
        if not args.quiet:
            say("\n".join(lines))
    return 0


def _form(out: Path) -> str:
    """The ending of --out, with that of .csv.gz whole; nothing for a folder."""
    name = out.name.lower()
    return next((end for end in (".csv.gz", ".tsv.gz") if name.endswith(end)), out.suffix.lower())


def _grid(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise argparse.ArgumentTypeError(f"rows x columns are wanted, such as 4x16: got {text!r}")
    return int(rows), int(columns)


def _refuse_contradictions(args: argparse.Namespace, form: str) -> None:
    """What can be said of the args before anything is read."""
    from zerosum.sampling import FORMS

    n, out, grid = args.n, args.out, args.grid
    legs, frames, nearest, psi = args.interpolate, args.frames, args.nearest, args.truncation
    for wrong, message in (
        (n is not None and n < 1, f"--n {n}: ask for at least one sample"),
        (
            form not in ("", ".png", *FORMS, *_FILMS),
            f"--out {out}: the name should end in .png (a picture), {', '.join(FORMS)}, .gif or .mp4, or be "
            "that of a folder (see zerosum sample --help)",
        ),
        (form in _FILMS and legs is None, f"--out {out}: a film shows an --interpolate K: give that too"),
        (
            form == ".mp4" and not find_spec("av"),
            f"--out {out}: .mp4 needs PyAV: pip install av; .gif needs nothing",
        ),
        (legs is not None and legs < 2, f"--interpolate {legs}: a path needs two samples or more"),
        (
            legs is not None and form not in (".png", *_FILMS),
            f"--out {out}: --interpolate draws a .png, .gif or .mp4",
        ),
        (
            legs is not None and (n, grid, nearest) != (None, None, None),
            "--interpolate K draws K samples and --frames between two: leave out --n, --grid and --nearest",
        ),
        (frames is not None and legs is None, "--frames is for --interpolate"),
        (frames is not None and frames < 2, f"--frames {frames}: two or more from one sample to the next"),
        (nearest is not None and nearest < 1, f"--nearest {nearest}: ask for at least one neighbour"),
        (nearest is not None and form != ".png", f"--out {out}: --nearest draws a .png"),
        (args.where and form in ("", ".png", *_FILMS), f"--out {out}: --where gives rows: .csv or .parquet"),
        (grid and form != ".png", f"--out {out}: --grid is for a .png"),
        (grid and nearest is not None, "--nearest draws a row for each sample: leave out --grid"),
        (grid and n and n > grid[0] * grid[1], f"--n {n}: more than --grid has room for"),
        (psi is not None and not 0 < psi < float("inf"), f"--truncation {psi}: it should be above 0"),
    ):
        if wrong:
            raise UsageError(message)


def _targets(args: argparse.Namespace) -> Iterator[tuple[Path, Path]]:
    """Each generator that is to be sampled, and where to: of many seeds, x.png becomes x-seed0.png."""
    from zerosum.evaluation import runs_of_seeds

    runs = runs_of_seeds(args.run)
    if not runs:
        yield args.run, args.out
    for run in runs:
        name, ending = args.out.name, _form(args.out)
        stem = name[: len(name) - len(ending)]
        yield run, args.out.with_name(f"{stem}-{run.name}{ending}")


def _sample(path: Path, out: Path, form: str, args: argparse.Namespace) -> list[str]:
    from zerosum.display import loading
    from zerosum.export import is_exported, load
    from zerosum.run.files import replacing
    from zerosum.sampling import Sampler
    from zerosum.sampling.files import refuse_too_many, write_folder

    trust = args.trust or not is_exported(path)  # a run is one's own
    G = load(path, step=args.step, live=args.live, trust=trust)
    say_notes(G.notes, args.quiet)
    sampler = Sampler(G, args.seed, args.classes, args.truncation, args.where)
    n = args.n or 64
    if args.interpolate is None and form not in (".png", *_FILMS):
        refuse_too_many(sampler, n, out)
    if not form:
        with writing(out):
            write_folder(sampler, n, out)
        return [f"{n:,} samples{_of_step(G)}: {out}"]
    with writing(out), loading(args.quiet), replacing(out) as file:
        return _write(sampler, out, form, args, file)


def _of_step(G: Any) -> str:
    return f" of step {G.about['step']:,}" if "step" in G.about else ""


def _write(sampler: Sampler, out: Path, form: str, args: argparse.Namespace, file: Any) -> list[str]:
    """Write what is asked for; returns what to say of it."""
    from zerosum import pictures
    from zerosum.sampling import SamplingError, neighbours, write

    G, of = sampler.G, f"{_of_step(sampler.G)}: {out}"
    if args.interpolate is not None and form in _FILMS:
        film = sampler.film(args.interpolate, args.frames or 25)
        {".gif": pictures.write_gif, ".mp4": pictures.write_mp4}[form](film, file)
        return [f"a film through {args.interpolate} samples{of}"]
    if args.interpolate is not None:
        sampler.strip(args.interpolate, args.frames or 10).save(file, format="PNG")
        return [f"the path through {args.interpolate} samples{of}"]
    if form != ".png":
        write(sampler, args.n or 64, file, form)
        return [f"{args.n or 64:,} samples{of}"]
    if args.nearest is not None:
        n = args.n or 16
        data = G.source()
        say_notes(data.notes, quiet=True)  # `train` has said all but what is wrong now
        found = neighbours(sampler, data, n, args.nearest, G.mirrored)
        found.picture().save(file, format="PNG")
        return [f"{n:,} samples, each before its nearest training examples,{of}", found.line()]
    if args.grid and not G.of_images:
        raise SamplingError(f"--grid is for images: {args.run} makes points, drawn as a cloud")
    if not G.of_images:
        n = args.n or 2500
        sampler.picture(n, real=G.real(2500)).save(file, format="PNG")
        return [f"{n:,} samples{of}"]
    columns = args.grid[1] if args.grid else sampler.columns(args.n or 64)
    n = args.n or (args.grid[0] if args.grid else -(-64 // columns)) * columns
    sampler.picture(n, columns).save(file, format="PNG")
    return [f"{n:,} samples{of}"]
