"""docs/gallery.md: every preset trained, and one picture of each.

    python benchmarks/gallery.py                       all of them; what is finished is not trained again
    python benchmarks/gallery.py --only ring digits    these, and the page anew
    python benchmarks/gallery.py --check               exit with 1 unless every preset is on the page

The runs lie in runs/gallery, each as `zerosum train NAME --out runs/gallery/NAME` leaves it, so that a preset
can be trained beforehand, elsewhere or by hand. A picture is the first 40 samples of seed 0, none of them
chosen; of a run that makes points it is the run's own last picture, which has the real ones in it. The
landscapes are those of folders.py; the classes of photos and the table are made from what scikit-learn ships.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import ledger
from folders import folder
from zerosum.randomness import stream
from zerosum.recipe import load, presets
from zerosum.run.log import Log
from zerosum.run.run import Run

RUNS, PAGE, RESULT = (Path(p) for p in ("runs/gallery", "docs/gallery.md", "benchmarks/results/gallery.json"))
PICTURES = PAGE.parent / "images" / "gallery"
LANDSCAPES, PHOTOS, TABLE = RUNS / "landscapes", RUNS / "two-photos", RUNS / "tissue.csv"
LARGEST = 450_000  # bytes of a picture: the repository is read on slow lines, too


@dataclass(frozen=True)
class Piece:
    """see: what to look for. data: what the preset is shown with. steps: where it plays fewer. options: of
    the command, to play faster.
    """

    see: str
    data: Path | None = None
    steps: int | None = None
    options: tuple[str, ...] = ()

    def train(self, name: str) -> list[str]:
        options = ["--data", str(self.data)] if self.data else []
        options += ["--steps", str(self.steps)] if self.steps else []
        return ["train", name, *options, *self.options, "--out", str(RUNS / name)]


PIECES = {
    "digits": Piece("all ten digits, in many hands; a few of them nobody could name."),
    "ring": Piece("blue samples on all eight clusters of the grey data, and hardly any between them."),
    "grid": Piece("all twenty-five clusters, each as narrow as the data's."),
    "vanilla-minimax": Piece(
        "grey clusters without any blue, and threads where the others should be discs: mode collapse."
    ),
    "vanilla-nonsaturating": Piece(
        "which of the eight clusters are missing, and the bridges between the others."
    ),
    "goodfellow2014": Piece(
        "strokes with the grain of a network without convolutions, after sixty epochs.",
        steps=30_000,
        options=("--precision", "bf16", "--threads", "1"),
    ),
    "mnist-dcgan": Piece("even strokes and closed loops; look for digits that are two at once."),
    "mnist-r3": Piece("digits of even stroke, made by a network without any normalisation."),
    "mnist-conditional": Piece(
        "a column for each class, 0 to 9: the digit that was asked for, in another hand each time."
    ),
    "stacked-mnist": Piece("three digits in each picture, one in red, one in green and one in blue."),
    "photos": Piece(
        "sky, water, leaves and petals of 20,000 pieces of photographs, after a quarter of an hour.",
        LANDSCAPES,
        options=("--hours", "0.25"),
    ),
    "photos-conditional": Piece("columns in turn of the temple and of the flower, as asked for.", PHOTOS),
    "table": Piece("the blue flowers lie among the grey ones, a cluster for each species.", steps=1500),
    "vectors": Piece(
        "the blue samples lie where the grey rows of the table lie, thin tails included.", TABLE
    ),
}


# data -----------------------------------------------------------------------------------------------------


def landscapes(place: Path) -> None:
    place.symlink_to(folder("landscapes"))


def two_photos(folder: Path, n: int = 1500, side: int = 32) -> None:
    """Random squares of scikit-learn's two photographs, 64 to 192 pixels wide, reduced: a folder of each."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    begun = folder.with_name(f".{folder.name}")
    shutil.rmtree(begun, ignore_errors=True)
    photos = load_sample_images()
    for pixels, source in zip(photos.images, photos.filenames, strict=True):
        label = Path(source).stem
        (begun / label).mkdir(parents=True)
        photo, draw = Image.fromarray(pixels), stream("gallery", "photos", label)
        for i in range(n):
            size = int(torch.randint(64, 193, (), generator=draw))
            left, top = (int(torch.randint(a - size + 1, (), generator=draw)) for a in photo.size)
            crop = photo.resize((side, side), Image.Resampling.LANCZOS, (left, top, left + size, top + size))
            crop.save(begun / label / f"{i:04d}.png")
    begun.rename(folder)


def tissue(file: Path) -> None:
    """The 30 measurements of 569 tissue samples that scikit-learn ships (Wolberg et al. 1993)."""
    import numpy as np
    from sklearn.datasets import load_breast_cancer

    table: Any = load_breast_cancer()
    header = ",".join(name.replace(" ", "_") for name in table.feature_names)
    np.savetxt(file, table.data, fmt="%.6g", delimiter=",", header=header, comments="")


def make_data() -> None:
    RUNS.mkdir(parents=True, exist_ok=True)
    for place, make in ((LANDSCAPES, landscapes), (PHOTOS, two_photos), (TABLE, tissue)):
        if not place.exists():
            make(place)


# train and draw -------------------------------------------------------------------------------------------


def zerosum(*words: str) -> None:
    print(f"zerosum {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "zerosum", *words], check=True)


def sampled(name: str, out: str) -> list[str]:
    classes = ["--class", "all"] if name.endswith("conditional") else []
    return ["sample", str(RUNS / name), "--grid", "4x10", *classes, "--out", out]


def training_seconds(run: Path) -> float:
    """Wall-clock seconds of all sessions of a run, each of which counts from 0."""
    clock = [record["seconds"] for record in Log(run).records() if "seconds" in record]
    return sum(now for now, after in zip(clock, [*clock[1:], 0.0], strict=True) if after <= now)


def made(name: str) -> dict[str, Any]:
    """Train a preset, draw its picture, and say what it took."""
    out, picture = RUNS / name, PICTURES / f"{name}.png"
    zerosum(*PIECES[name].train(name), "--quiet")
    run = Run.open(out)
    of_images = len(run.data.shape) == 3
    if of_images:
        zerosum(*sampled(name, str(picture)), "--quiet")
    else:
        shutil.copyfile(out / "samples" / f"{run.game.step:06d}.png", picture)
    begun = next(event for event in Log(out).events() if event["event"] == "started")
    return {
        "turns": run.game.step,
        "seconds": round(training_seconds(out)),
        "threads": begun.get("threads"),
        "images": of_images,
        "bytes": picture.stat().st_size,
    }


# the page -------------------------------------------------------------------------------------------------


def page(result: dict[str, Any]) -> str:
    machine = result["machine"]
    head = f"""\
# Gallery

A picture of every recipe, made by one command that trains what is not trained yet and writes this page:

    python benchmarks/gallery.py

Images are the first samples of seed 0; nobody chose them. Points are blue, on real ones in grey. The times
are by the clock on the wall, on {machine["cores"]} cores and no GPU, at times shared with other work.
"""
    return "\n".join([head, *(section(name, result["recipes"][name]) for name in presets())])


def section(name: str, facts: dict[str, Any]) -> str:
    piece, whole = PIECES[name], load(name).turns
    of = "" if facts["turns"] >= whole else f" of the recipe's {whole:,}"
    threads = f"{facts['threads']} thread{'s' if facts['threads'] > 1 else ''}"
    lines = [f"zerosum {' '.join(piece.train(name))}"]
    lines += [f"zerosum {' '.join(sampled(name, f'{name}.png'))}"] if facts["images"] else []
    about = load(name).about
    return f"""\
## {name}

{about[0].upper()}{about[1:]}.

![what {name} makes](images/gallery/{name}.png)

*{facts["turns"]:,} turns{of}, {time(facts["seconds"])} on {threads}.* What to see: {piece.see}

```sh
{chr(10).join(lines)}
```
"""


def time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def wrong(result: dict[str, Any]) -> list[str]:
    """What the page lacks."""
    found = [f"{name}: no piece in gallery.py" for name in presets() if name not in PIECES]
    found += [f"{name}: a piece, but no preset" for name in PIECES if name not in presets()]
    found += [f"{name}: not made" for name in presets() if name not in result["recipes"]]
    for picture in (PICTURES / f"{name}.png" for name in presets()):
        if not picture.exists():
            found.append(f"{picture}: not there")
        elif picture.stat().st_size > LARGEST:
            found.append(f"{picture}: {picture.stat().st_size:,} bytes, more than {LARGEST:,}")
    if not found and (not PAGE.exists() or PAGE.read_text() != page(result)):
        found.append(f"{PAGE} is not what gallery.py writes")
    return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", default=list(presets()), choices=list(presets()), metavar="NAME")


def measure(args: argparse.Namespace) -> None:
    os.chdir(ledger.ROOT)
    result: dict[str, Any] = ledger.read(RESULT, {"recipes": {}})
    PICTURES.mkdir(parents=True, exist_ok=True)
    make_data()
    for name in args.only:
        result["recipes"][name] = made(name)
        result["machine"] = ledger.machine()
        ledger.write(RESULT, result)


def write_page() -> None:
    result = ledger.read(RESULT)
    if all(name in result["recipes"] for name in presets()):
        PAGE.write_text(page(result))


BENCHMARK = ledger.Benchmark(
    __doc__, measure, options, finish=write_page, lacks=lambda: wrong(ledger.read(RESULT, {"recipes": {}}))
)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
