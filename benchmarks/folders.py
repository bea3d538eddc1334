"""Folders of real pictures to develop on, fetched by the registries' ordinary clients; none is committed.

    python benchmarks/folders.py                       all of them, and where they lie
    python benchmarks/folders.py emoji --look look.png     one, and a grid of what is in it
    python benchmarks/folders.py many                  50,000 pictures of any size, to see what a start takes

    flags       small: 200 flags of any size from Debian's openclipart-png
    emoji       middle: 3,786 pictures of 64 pixels, transparent, from the npm package emoji-datasource-google
    landscapes  large: 20,000 crops of photographs, mate-backgrounds' and plasma-workspace-wallpapers'

They lie in $XDG_CACHE_HOME/zerosum/folders. A folder that is there is not made again. Wanted: npm for emoji,
apt-get and dpkg-deb for the others.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tarfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

import ledger
from zerosum import pictures
from zerosum.data.download import kept_in
from zerosum.data.image_files import SUFFIXES

EMOJI, OPENCLIPART = "emoji-datasource-google@16.0.0", "openclipart-png"
BACKGROUNDS = {
    "mate-backgrounds": "usr/share/backgrounds/mate/nature/*.jpg",
    "plasma-workspace-wallpapers": "usr/share/wallpapers/*/contents/images/2560x1600.jpg",
}
NO_LANDSCAPE = {"ColorfulCups", "Grey"}


def downloaded(command: Sequence[str], folder: Path) -> Path:
    """The one file that a registry's client leaves in an empty folder."""
    try:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"{' '.join(command)}: {error}") from error
    (file,) = folder.iterdir()
    return file


def debian(package: str, folder: Path) -> Path:
    """What a package of Debian's installs, below a folder of its own."""
    (place := folder / package).mkdir()
    subprocess.run(["dpkg-deb", "-x", downloaded(["apt-get", "download", package], place), place], check=True)
    return place


def emoji(out: Path, work: Path) -> None:
    with tarfile.open(downloaded(["npm", "pack", "--silent", EMOJI], work)) as archive:
        for member in archive.getmembers():
            if "/google/64/" in member.name and (file := archive.extractfile(member)):
                (out / Path(member.name).name).write_bytes(file.read())


def flags(out: Path, work: Path) -> None:
    """Chosen at random, so that they are of all parts of the world and of all sizes."""
    there = sorted(
        (debian(OPENCLIPART, work) / "usr/share/openclipart/png/signs_and_symbols/flags").rglob("*.png")
    )
    for i, file in enumerate(random.Random(0).sample([f for f in there if not f.is_symlink()], 200)):
        shutil.copyfile(file, out / f"{i:03d}-{file.name}")


def landscapes(out: Path, work: Path, n: int = 20_000, least: int = 128, most: int = 128) -> None:
    """Squares of a quarter to the whole of a photograph's height, from anywhere in it, each reduced to one of
    `least` to `most` pixels; as many of each photograph."""
    files = [f for package, glob in BACKGROUNDS.items() for f in sorted(debian(package, work).glob(glob))]
    files = [f for f in files if not NO_LANDSCAPE & {*f.parts}]
    for j, file in enumerate(files):
        photo, draw = Image.open(file).convert("RGB"), random.Random(j)
        photo.thumbnail((1600, 1600))
        for i in range(j, n, len(files)):
            size = draw.randint(min(photo.size) // 4, min(photo.size))
            left, top = (draw.randint(0, side - size) for side in photo.size)
            side, box = draw.randint(least, most), (left, top, left + size, top + size)
            crop = photo.resize((side, side), Image.Resampling.BICUBIC, box, reducing_gap=2.0)
            crop.save(out / f"{i:05d}.jpg", quality=90)


def many(out: Path, work: Path) -> None:
    landscapes(out, work, 50_000, 20, 400)


FOLDERS: dict[str, Callable[[Path, Path], None]] = {
    "flags": flags,
    "emoji": emoji,
    "landscapes": landscapes,
    "many": many,
}


def folder(name: str, root: Path | None = None) -> Path:
    """The folder of this name, made if it is not there."""
    return made(name, FOLDERS[name], root)


def made(name: str, make: Callable[[Path, Path], None], root: Path | None = None) -> Path:
    """A folder that `make` fills, given it empty and another to work in; whole, or not there."""
    root = root or kept_in("folders")
    if not (root / name).exists():
        part = root / f".{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        with TemporaryDirectory(dir=root) as work:
            make(part, Path(work))
        part.rename(root / name)
    return root / name


def grid(place: Path, rows: int = 6, columns: int = 12, side: int = 80) -> Image.Image:
    """Every so many-th picture, transparent ones on white."""
    files = sorted(f for f in place.rglob("*") if f.suffix.lower() in SUFFIXES)
    shown: list[np.ndarray] = []
    for file in files[:: max(1, len(files) // (rows * columns))][: rows * columns]:
        picture, sheet = Image.open(file).convert("RGBA"), Image.new("RGBA", (side, side), "white")
        picture.thumbnail((side, side))
        sheet.alpha_composite(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        shown.append(np.asarray(sheet.convert("RGB")).transpose(2, 0, 1))
    return pictures.tiles(np.stack(shown), columns)


def measure(args: Namespace) -> None:
    if unknown := {*args.names} - {*FOLDERS}:
        raise SystemExit(f"there is no folder {min(unknown)!r}: there are {', '.join(FOLDERS)}")
    for name in args.names or ("flags", "emoji", "landscapes"):
        place = folder(name)
        print(f"{name}: {sum(1 for _ in place.iterdir()):,} pictures in {place}", flush=True)
        if args.look is not None:
            grid(place).save(args.look)


def options(parser: ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FOLDERS))
    parser.add_argument("--look", type=Path, metavar="FILE.png", help="write a grid of the (last) folder")


BENCHMARK = ledger.Benchmark(__doc__, measure, options)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
