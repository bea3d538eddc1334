"""Draw samples from the generator of a run.

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

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import TYPE_CHECKING, BinaryIO

from zerosum.cli.output import say, say_notes, writing
from zerosum.cli.parsing import Parser, UsageError, some_path, whole

if TYPE_CHECKING:
    from zerosum.sampling import Sampler

__all__ = ["parser", "run"]

_ARRAYS = (".npy", ".npz", ".csv")
_FILMS = (".gif", ".mp4")


def parser() -> Parser:
    p = Parser("sample", __doc__)
    p.add_argument("run", type=some_path, help="the run's directory")
    p.add_argument("--n", type=whole(1), help="how many (default: 64, or what fills the grid)")
    p.add_argument(
        "--out",
        type=some_path,
        default="samples.png",
        help="a .png, .npy, .npz, .csv, .gif or .mp4 file (default: samples.png)",
    )
    p.add_argument("--grid", type=_grid, metavar="ROWSxCOLUMNS", help="of a picture, such as 4x16")
    p.add_argument(
        "--class",
        dest="classes",
        type=_classes,
        default=(),
        metavar="A,B,...",
        help="classes of a conditional run, in turn: names where the data have them, such as those of a "
        "folder's sub-folders, or numbers from 0 (default: all)",
    )
    p.add_argument("--seed", type=whole(0), default=0, help="of the noise (default: 0)")
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
    p.add_argument("--step", type=whole(0), help="the checkpoint's step (default: the newest)")
    weights = p.add_mutually_exclusive_group()
    weights.add_argument(
        "--ema",
        dest="live",
        action="store_false",
        default=False,
        help="the running average of the weights, if it is kept (default)",
    )
    weights.add_argument("--live", action="store_true", help="the last weights, not their running average")
    p.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    return p


def run(args: argparse.Namespace) -> int:
    _refuse_contradictions(args)

    from zerosum.display import loading
    from zerosum.run.files import replacing
    from zerosum.run.run import Run
    from zerosum.sampling import Sampler

    run = Run.open(args.run, args.step)
    say_notes(run.notes, args.quiet)
    sampler = Sampler(run, args.seed, args.live, args.classes, args.truncation)
    with writing(args.out), loading(args.quiet), replacing(args.out) as file:
        lines = _write_samples(sampler, args, file)
    if not args.quiet:
        say("\n".join(lines))
    return 0


def _grid(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise argparse.ArgumentTypeError(f"rows x columns are wanted, such as 4x16: got {text!r}")
    return int(rows), int(columns)


def _classes(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _refuse_contradictions(args: argparse.Namespace) -> None:
    """What can be said of the options of `sample` before anything is read."""
    n, out, grid, form = args.n, args.out, args.grid, args.out.suffix
    legs, frames, nearest, psi = args.interpolate, args.frames, args.nearest, args.truncation
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


def _write_samples(sampler: Sampler, args: argparse.Namespace, file: BinaryIO) -> list[str]:
    """Write what is asked for; returns what to say of it."""
    from zerosum import pictures, sampling

    form, of = args.out.suffix, f"of step {sampler.run.game.step:,}: {args.out}"
    if args.interpolate is not None and form in _FILMS:
        film = sampler.film(args.interpolate, args.frames or 25)
        {".gif": pictures.write_gif, ".mp4": pictures.write_mp4}[form](film, file)
        return [f"a film through {args.interpolate} samples {of}"]
    if args.interpolate is not None:
        sampler.strip(args.interpolate, args.frames or 10).save(file, format="PNG")
        return [f"the path through {args.interpolate} samples {of}"]
    if form in _ARRAYS:
        sampling.write(sampler, args.n or 64, file, form)
        return [f"{args.n or 64:,} samples {of}"]
    if args.grid and not sampler.of_images:
        raise sampling.SamplingError(f"--grid is for images: {args.run} makes points, drawn as a cloud")
    columns = args.grid[1] if args.grid else sampler.columns(args.n or 64)
    n = args.n or (args.grid[0] if args.grid else -(-64 // columns)) * columns
    if args.nearest is None:
        sampler.picture(n, columns).save(file, format="PNG")
        return [f"{n:,} samples {of}"]
    neighbours = sampler.neighbours(n, args.nearest)
    neighbours.picture(columns).save(file, format="PNG")
    return [f"{n:,} samples, each left of its nearest training examples, {of}", neighbours.line()]
