"""What is judged: the samples of a run, of its checkpoints, of a directory of seeds, or in anybody's
files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zerosum import recipe as recipes
from zerosum.data.array_files import read_npy, read_npz
from zerosum.data.columns import Columns
from zerosum.data.sheet import Coded, Sheet
from zerosum.data.tables import ending_of, located, read_sheet
from zerosum.data.where import Where
from zerosum.evaluation.examples import Examples, gathered, room
from zerosum.evaluation.judge import Judge, Progress
from zerosum.evaluation.real import Real, real_data
from zerosum.metrics import as_images
from zerosum.recipe import Component
from zerosum.run import checkpoints
from zerosum.run.log import Log, not_a_run
from zerosum.sampling import Generator, Sampler
from zerosum.text import printable

__all__ = ["Subject", "judge_for", "read_samples", "runs_of_seeds", "subjects"]


@dataclass(frozen=True)
class Subject:
    """Samples with a name: of a run at a step, or of a file.

    about: facts for every row. results: where its rows go. wanted: the labels that a conditional generator
    was asked for, or that a file has."""

    name: str
    samples: Examples
    about: Mapping[str, Any]
    results: Path
    wanted: Tensor | None = None


def is_run(path: Path) -> bool:
    return (path / "recipe.yaml").is_file()


def runs_of_seeds(path: Path) -> list[Path]:
    """The runs in a directory of seeds, by seed; none where it is something else."""
    if is_run(path) or not path.is_dir():
        return []
    runs = [folder for folder in path.iterdir() if is_run(folder)]
    return sorted(runs, key=lambda run: (Log(run).recipe().seed, run.name))


def subjects(
    target: Path,
    real: Real,
    n: int,
    seed: int = 0,
    step: int | str | None = None,
    every: bool = False,
    live: bool = False,
    where: Where | None = None,
    progress: Progress = lambda what: None,
) -> Iterator[Subject]:
    """A run at one step or at `every` checkpoint, each run of a directory of seeds, or the samples in a file
    or folder.

    Raises RunError for a run that cannot be opened, ValueError for a file that holds no samples.
    """
    from zerosum.run.run import Run

    n = min(n, room(real.judged.shape, real.of_images))
    runs = [target] if is_run(target) else runs_of_seeds(target)
    if not runs:
        samples, wanted = read_samples(target, real, n)
        yield Subject(str(target), samples, {"file": str(target)}, Path(f"{target}.evaluation.jsonl"), wanted)
        return
    for path in runs:
        for at in checkpoints.steps(path / "checkpoints") if every else [step]:
            run = Run.open(path, at)
            samples, wanted = _drawn(Sampler(Generator.of(run, live), seed, where=where), real, n, progress)
            about = {
                "step": run.game.step,
                "average": not live and run.game.G.average is not None,
                "run_seed": run.recipe.seed,
            }
            name = f"{printable(path)} at step {run.game.step:,}"
            yield Subject(name, samples, about, path / "evaluation.jsonl", wanted)


def _drawn(sampler: Sampler, real: Real, n: int, progress: Progress) -> tuple[Examples, Tensor | None]:
    G, labels = sampler.G, list[Tensor]()
    if G.of_images != real.of_images:
        kinds = {True: "images", False: "no images"}
        raise ValueError(
            f"the samples are {kinds[G.of_images]} of shape {G.shape}, and {real.name} "
            f"{kinds[real.of_images]}: say with --data what they are to be judged against"
        )

    def parts() -> Iterator[Tensor]:
        first = 0
        if real.of_images and G.of_images:
            drawn = ((G.codec.view(x), y) for x, y in sampler.parts(n))
        else:
            drawn = ((_encoded(rows, real), y) for rows, y in sampler.decoded(n))
        for x, y in drawn:
            progress(f"drawing samples: {first:,} of {n:,}")
            labels.extend([] if y is None else [y.cpu()])
            yield x
            first += len(x)

    samples = Examples(gathered(parts(), n))
    if not labels or not G.classes:
        return samples, None
    return samples, real.classes_of([G.classes[i] for i in torch.cat(labels).tolist()])


# files --------------------------------------------------------------------------------------------------


def read_samples(path: Path, real: Real, n: int | None = None) -> tuple[Examples, Tensor | None]:
    """Samples that anybody made, read as data to train on are, and their labels if they have any.

    A folder of images and folders, arrays (.npy, .npz), tables (.csv, .tsv, .parquet): whatever `train` reads
    and `sample` writes. At most `n` of them. Raises ValueError in one line that begins with the path and says
    what it holds and what is wanted, FileNotFoundError.
    """
    if not path.exists():
        raise ValueError(f"{printable(path)}: no such run, file or folder")
    with located(printable(path)):
        sheet: Sheet | None = None
        notes: tuple[str, ...] = ()
        if path.is_dir() and real.of_images:
            source = _folder(path, size=real.judged.shape[1:], channels=real.judged.shape[0])
            count = min(len(source), n or len(source))
            x, y = source.batch(0, count) if count < len(source) else source.at(torch.arange(count))
            labels = None if y is None else [source.class_names[i] for i in y.tolist()]
            values = source.codec.view(x)
            notes = tuple(note for note in source.notes if note.startswith("warning"))
        elif ending_of(path) in (".npy", ".npz"):
            content = read_npz(path) if ending_of(path) == ".npz" else read_npy(path)
            values, labels = _encoded(content.examples[:n], real), _cells(content.labels)
        else:
            sheet = read_sheet(path)
            notes = sheet.notes
            labels = _cells(sheet.columns.get(real.label))
            sheet = sheet.take(slice(n))
            values = _encoded(sheet, real)
            if isinstance(real.codec, Columns):
                real.codec.arrays(sheet.take(slice(0)))  # which refuses a table without one of the columns
        wanted = None if labels is None else real.classes_of(labels[: len(values)])
        kept = sheet if isinstance(real.codec, Columns) else None
        return Examples(values, sheet=kept, notes=notes), wanted


def _cells(cells: Any) -> list[Any] | None:
    if cells is None:
        return None
    return list(cells.objects()) if isinstance(cells, Coded) else cells.tolist()


def _folder(path: Path, **form: Any) -> Any:
    from zerosum.data import image_folder

    return image_folder(path, "all", **form)


def _encoded(content: Any, real: Real) -> Tensor:
    """What people keep, or have, as it is held beside the real data: bytes of images, else numbers ``[n,
    d]``.

    Raises ValueError for what cannot be examples of these data.
    """
    if isinstance(real.codec, Columns):
        return real.codec.encode(content)
    if isinstance(content, Sheet):
        if real.of_images:
            raise ValueError(f"it holds a table, and {real.name} images")
        content = np.asarray(content.only([name for name in content if name != real.label]))
    array = torch.from_numpy(np.array(content))  # a copy: it may be mapped, or of another order of bytes
    if real.of_images:
        return _bytes(array)
    if array.is_complex() or not (array.is_floating_point() or array.dtype != torch.bool):
        raise ValueError(f"it holds {array.dtype}, and numbers are wanted")
    array = array.float().flatten(1) if array.ndim > 1 else array.float()[:, None]
    if not array.isfinite().all():
        raise ValueError(f"{int((~array.isfinite()).sum()):,} values are NaN or infinite")
    return array


def _bytes(array: Tensor) -> Tensor:
    if array.dtype == torch.uint8 and array.ndim in (3, 4):
        images = array[:, None] if array.ndim == 3 else array
        return images if images.shape[1] < images.shape[3] else images.movedim(-1, 1)
    if not array.is_floating_point() or array.ndim not in (3, 4):
        raise ValueError(
            f"images are uint8 [N, H, W(, C)] or floats [N, C, H, W] in [-1, 1]: got {array.dtype}"
        )
    if array.min() >= 0 and array.max() <= 1:
        raise ValueError("floats from 0 up look like images in [0, 1]: give uint8, or floats in [-1, 1]")
    return as_images(array).add(1).mul(127.5).round().to(torch.uint8)


# a judge for them ---------------------------------------------------------------------------------------


def judge_for(
    target: Path,
    data: str | None = None,
    features: str = "auto",
    n: int = 5000,
    seed: int = 0,
    progress: Progress = lambda what: None,
    **of_table: Any,
) -> Judge:
    """Real data and a feature space for a target: what is not said follows from the run's recipe and from
    the data.

    A folder of images is judged in the size of its own images, at which the data are read, too. of_table:
    where, predict and unseen of `real_data`.
    """
    if not target.exists():
        raise ValueError(f"{printable(target)}: no such run, file or folder")
    run = next((path for path in [target, *runs_of_seeds(target)] if is_run(path)), None)
    if data is None and run is None:
        if (target / "sweep.yaml").is_file():
            raise not_a_run(target)
        raise ValueError(
            f"{printable(target)} is not a run: say with --data what real data its samples are to be judged "
            "against"
        )
    component = (
        Log(run).recipe().data if data is None and run is not None else recipes.data_component(str(data))
    )
    progress("reading the data")
    source = _source(component, target if run is None and target.is_dir() else None, seed)
    label = component.get("label") if isinstance(component, dict) else None
    real = real_data(source, recipes.name_of(component), n, seed, str(label or "class"), **of_table)
    return Judge(real, features, seed, progress)


_RESIZED = "image_folder", "hf", "shards"


def _source(component: Component, folder: Path | None, seed: int) -> Any:
    """The data; those of images at the size of the images in a folder of samples."""
    if folder is None or recipes.name_of(component) not in _RESIZED or isinstance(component, str):
        return recipes.build_data(component, seed)
    size = _size_of_images(folder)
    form = {} if size is None else {"size": size}
    with located(printable(folder)):
        samples = _folder(folder, **({} if size is None else {"size": tuple(size)}))
    form = {"size": list(samples.shape[1:])}
    source = recipes.build_data({**component, **form}, seed)
    if source.shape[0] < samples.shape[0] and "channels" not in component:
        source = recipes.build_data({**component, **form, "channels": samples.shape[0]}, seed)
    return source


def _size_of_images(folder: Path) -> list[int] | None:
    """[height, width] of the images in a folder, if the first hundred agree."""
    from PIL import Image

    sizes: set[tuple[int, int]] = set()
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    for file in islice(files, 100):
        try:
            with Image.open(file) as image:
                sizes.add(image.size)
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
    return [*next(iter(sizes))[::-1]] if len(sizes) == 1 else None
