"""A folder of images: every file is decoded once, into one file of bytes that training reads.

Folders of photos hold more than photos: notes, broken downloads, pictures of any size, kind and orientation.
All of that is met before the first turn. What can be read is brought to one shape and written to a cache;
what cannot be read is named, with the cause. The second time nothing is decoded: the folder is listed, and if
no file has changed the cache is opened, of which a batch reads its own rows only. So the images may be more
than the memory holds.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from zerosum.data.arrays import Images, named
from zerosum.data.download import kept_in, locked
from zerosum.data.image_files import NOT_AN_IMAGE, SUFFIXES, Bad, Form, Header, decode, each, header, infer
from zerosum.data.layout import DIVIDED_FROM, File, class_folders, layout, stylegan_labels, walk
from zerosum.data.rows import FileRows
from zerosum.randomness import key, stream
from zerosum.text import printable

__all__ = ["ImageFolder", "image_folder"]

NAMED = 20  # files that a note names, of each cause
OUTSIDE, UNLABELLED = "outside of the splits", "without a label in dataset.json"
FORM = 4  # of the cache; a cache of another form is not looked at


@dataclass(frozen=True, eq=False)
class ImageFolder(Images):
    """The images of a folder, made by `image_folder`; its pixels lie in a file.

    Arguments:
        flip: Show each image as it is or mirrored, at even odds that follow from (seed, step).
        skipped: (path in the folder, cause) of each file that was skipped.
    """

    _: KW_ONLY
    flip: bool = False
    skipped: tuple[tuple[str, str], ...] = ()

    def part(self, step: int, n: int, rank: int, world: int) -> tuple[Tensor, Tensor | None]:
        """As `Images.part`; with `flip`, about half of the images are mirrored, the same ones each time."""
        x, y = super().part(step, n, rank, world)
        if not self.flip:
            return x, y
        mirrored = (torch.rand(n, generator=stream(self.seed, step, "flip")) < 0.5).chunk(world)[rank]
        return torch.where(mirrored[:, None, None, None], x.flip(3), x), y


def image_folder(
    path: str | Path | None = None,
    split: str = "train",
    *,
    size: int | tuple[int, int] | Literal["same"] | None = None,
    channels: Literal[1, 2, 3, 4] | None = None,
    fit: Literal["crop", "fit"] = "crop",
    flip: bool = False,
    low: float = -1.0,
    high: float = 1.0,
    seed: int = 0,
    bad: float = 0.5,
    cache: str | Path | None = None,
) -> ImageFolder:
    """The images in a folder and in all folders below it, decoded the first time and read from then on.

    Files: JPEG, PNG, WebP, BMP, TIFF, the first frame of a GIF, PPM, JPEG 2000, AVIF; grey, colour, palette,
    CMYK, transparent, of 1 to 32 bits (16 bits are divided by 257; float images must lie in [0, 1], [0, 255]
    or [0, 65535]); turned as their EXIF data say. The name of a file does not matter; hidden files are
    ignored, links are followed. Whatever else is there is skipped, and stands in `skipped`, in
    ``skipped.txt`` beside the cache and, counted, in `notes`.

    Labels: those of a ``dataset.json`` as StyleGAN's ``dataset_tool`` writes it, where there is one. If not,
    and every image lies in a sub-folder, and there are two or more of these, they are the classes.

    Splits: "train", "test" and "all". If the folder has folders called ``train`` (or ``training``) and
    ``test`` (``testing``) or ``valid`` (``val``, ``validation``), in any case, these are the splits, and the
    classes lie below them; with both ``test`` and ``valid`` there is a "valid" split too. If not, "test" is
    the tenth of the images that the hashes of their paths choose (one or more; none of fewer than ten), so
    that it does not change when images are added.

    The cache lies in ``$XDG_CACHE_HOME/zerosum/images`` (``~/.cache/zerosum/images``). It is made again when
    a file is added, removed or changed, and the outdated one is deleted. Processes that want it at the same
    time wait for the one that makes it; one that is killed leaves nothing that is taken for a cache.

    Arguments:
        path: The folder. There is none by default: a recipe for your images says so.
        split: Which part of the images.
        size: The side, or (height, width); "same": that of the images, which must all have one. None: the
            size of the images if it is the same for all, at most 64 and a multiple of 4, else the largest of
            8, 16, 32, 64 up to their median shorter side.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. None: 1 if all images are grey, 4 if more than
            half are see-through somewhere, else 3. What loses its alpha is laid on white.
        fit: "crop" fills the size and cuts what is over at both ends; "fit" shows all of the image, between
            bars of zeros (black, or see-through).
        flip: Mirror at random; right for photos, wrong for writing.
        low: What byte 0 becomes.
        high: What byte 255 becomes.
        seed: The seed of the order and of the flips.
        bad: The share of broken images above which the folder is refused. Files that neither are images nor
            are called so, such as notes, do not count.
        cache: Where caches are kept instead.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if an argument is wrong, no image can be read, too many are bad, or the split is empty.
        OSError: if the cache cannot be written.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = tempfile.TemporaryDirectory()
    >>> for level in range(10):
    ...     Image.new("L", (8, 8), 25 * level).save(f"{folder.name}/{level}.png")
    >>> images = image_folder(folder.name, cache=f"{folder.name}/cache")
    >>> images.shape, images.splits, len(images), len(images.split("test"))
    ((1, 8, 8), ('train', 'test', 'all'), 9, 1)
    >>> folder.cleanup()
    """
    if path is None:
        raise ValueError("your images are needed: give a folder of them, --data FOLDER")
    form = Form.of(size, channels, fit)
    if not 0 <= bad <= 1:
        raise ValueError(f"bad is a share in 0 ... 1: got {bad}")
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    root = Path(cache).expanduser().resolve() if cache is not None else kept_in("images")
    cached = _cached(folder, form, root)
    _check_share(folder, cached, bad)
    if split not in cached.parts:
        has = ", ".join(cached.parts)
        raise ValueError(f"{folder}: its {len(cached.pixels)} images have no split {split!r}, only {has}")
    notes = _notes(folder, form, cached)

    def opener(name: str) -> ImageFolder:
        first, end = cached.parts[name]
        return ImageFolder(
            cached.pixels.between(first, end),
            torch.tensor(cached.labels[first:end]) if cached.class_names else None,
            low,
            high,
            seed=seed,
            split_name=name,
            class_names=cached.class_names,
            splits=tuple(cached.parts),
            opener=opener,
            checksum=cached.fingerprint,
            notes=notes,
            flip=flip,
            skipped=cached.skipped,
        )

    return opener(split)


# all images ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cached:
    home: Path
    pixels: FileRows  # uint8 [N, C, H, W]
    parts: dict[str, list[int]]  # split -> first row, last row + 1
    divided: bool  # by folders of the splits' names
    labels: list[int]
    class_names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    files: int
    fingerprint: str


def _cached(folder: Path, form: Form, root: Path) -> _Cached:
    """The cache of the folder as it is now: read, or made if there is none."""
    place = root / f"{folder.name[:40]}-{_digest(str(folder))}"
    files, skipped = walk(folder, leave=place)
    listing = "\0".join(f"{file.path}\0{file.size}\0{file.modified}" for file in files)
    home = place / f"{_digest(f'{FORM} {skipped} {listing}')}-{_digest(repr(tuple(form)))}"
    if cached := _read(home):
        return cached
    try:
        place.mkdir(parents=True, exist_ok=True)
        with locked(place / ".lock"):  # another process may have made it in the meantime
            return _read(home) or _make(home, folder, files, skipped, form)
    except OSError as error:
        hint = "give another folder with the argument `cache` or with XDG_CACHE_HOME"
        raise OSError(
            f"{root}: the images cannot be kept there ({error.strerror or error}): {hint}"
        ) from error


def _read(home: Path) -> _Cached | None:
    """The cache in a folder, or None if there is none or a damaged one."""
    try:
        digest, body = (home / "index.json").read_text().split("\n", 1)
        if digest != _digest(body):
            return None
        index = json.loads(body)
        if (home / "pixels.bin").stat().st_size != math.prod(index["shape"]):
            return None
        pixels = FileRows(home / "pixels.bin", index.pop("shape"))
    except (OSError, ValueError):
        return None
    skipped = tuple((path, cause) for path, cause in index.pop("skipped"))
    return _Cached(home, pixels, skipped=skipped, class_names=tuple(index.pop("class_names")), **index)


def _make(home: Path, folder: Path, files: list[File], skipped: list[tuple[str, str]], form: Form) -> _Cached:
    """Make a cache under another name, then give it its own; nobody else is at it. Then clear up."""
    for left in home.parent.glob("*.part"):  # of processes that were killed
        shutil.rmtree(left)
    part = home.with_name(home.name + ".part")
    part.mkdir()
    try:
        _fill(part, folder, [file.path for file in files], dict(skipped), form)
        shutil.rmtree(home, ignore_errors=True)  # a damaged one
        part.rename(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    listing = home.name.split("-")[0]
    for other in home.parent.iterdir():
        if other.is_dir() and not other.name.startswith(listing):
            shutil.rmtree(other, ignore_errors=True)
    if (cached := _read(home)) is None:
        raise OSError("what was written cannot be read")
    return cached


def _fill(part: Path, folder: Path, files: list[str], causes: dict[str, str], form: Form) -> None:
    """Decode the images of a folder into ``pixels.bin``; describe them in ``index.json``, ``skipped.txt``."""
    total = len(files) + len(causes)
    stated = stylegan_labels(folder)
    if stated is not None:
        files = [path for path in files if path != "dataset.json"]
    _check_some(folder, files, causes, total)
    headers = dict(_good(header, folder, files, "looking at", causes))
    found = layout(list(headers))
    causes |= dict.fromkeys(found.outside, OUTSIDE)
    if stated:
        causes |= {path: UNLABELLED for path in found.paths if path not in stated}
        found = found.without(causes)
    _check_some(folder, found.paths, causes, total)
    shape = _shape(folder, {path: headers[path] for path in found.paths}, form)
    _check_room(part, shape, len(found.paths))
    digest = hashlib.blake2b(digest_size=8)
    with (part / "pixels.bin").open("wb") as pixels:
        for _, image in _good(
            partial(decode, shape=shape, fit=form.fit), folder, found.paths, "decoding", causes
        ):
            pixels.write(image)
            digest.update(image)
        pixels.flush()
        os.fsync(pixels.fileno())
    found = found.without(causes)
    _check_some(folder, found.paths, causes, total)
    tops = [stated[path] for path in found.paths] if stated else class_folders(found)
    labelled = bool(stated) or (stated is None and all(tops) and len(set(tops)) > 1)
    labels, names = named(tops) if labelled else (torch.empty(0), ())
    index: dict[str, Any] = {
        "shape": [len(tops), *shape],
        "parts": found.rows(),
        "labels": labels.tolist(),
        "class_names": names,
    }
    fingerprint = _digest(f"{digest.hexdigest()} {json.dumps(index)}")
    index |= {"skipped": sorted(causes.items()), "files": total, "fingerprint": fingerprint}
    body = json.dumps(index | {"divided": "" not in found.parts})
    (part / "index.json").write_text(f"{_digest(body)}\n{body}")
    lines = [f"{printable(path)}\t{cause}\n" for path, cause in index["skipped"]]
    (part / "skipped.txt").write_text("".join(lines), encoding="utf-8")


def _shape(folder: Path, headers: dict[str, Header], form: Form) -> tuple[int, int, int]:
    paths = sorted(headers, key=key)
    return infer([headers[path] for path in paths], form, lambda i: f"{folder}/{paths[i]}")


def _good(
    work: Any, folder: Path, paths: Sequence[str], what: str, causes: dict[str, str]
) -> Iterator[tuple[str, Any]]:
    """(path, what `work` makes of it) where it can; why it cannot goes to `causes`."""
    results = each(work, range(len(paths)), lambda i: f"{folder}/{paths[i]}", f"{folder.name}: {what}")
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, Bad):
            causes[path] = result.cause
        else:
            yield path, result


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()


# what is said -------------------------------------------------------------------------------------------


def _notes(folder: Path, form: Form, cached: _Cached) -> tuple[str, ...]:
    """What the images are taken for, and which files were skipped."""
    inferred = [name for name in ("size", "channels") if getattr(form, name) is None]
    shape = " x ".join(map(str, cached.pixels.shape[1:]))
    labels = f"{len(cached.class_names)} classes" if cached.class_names else "no labels"
    parts = ", ".join(f"{b - a:,} {name}" for name, (a, b) in cached.parts.items() if name != "all")
    chosen = f" ({' and '.join(inferred)} inferred)" if inferred else ""
    how = " (by the names of its folders)" if cached.divided else ""
    about = f"{printable(folder)}: {len(cached.pixels):,} images of {shape}{chosen}, {labels}; {parts}{how}"
    skipped = _summary(cached.skipped, cached.files, cached.home)
    notes = [about, *([f"warning: {skipped}"] if skipped else [])]
    if len(cached.pixels) < DIVIDED_FROM:
        held = f"from {DIVIDED_FROM} on, some are held out of training to judge against"
        notes.append(f"warning: these {len(cached.pixels)} images are few: {held}")
    return tuple(notes)


def _summary(skipped: Sequence[tuple[str, str]], files: int, home: Path | None = None) -> str:
    """Which files were skipped, and why, in one line; nothing if none was."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path, cause in skipped:
        groups[cause.split(":")[0]].append(printable(path))
    counts = [
        f"{len(paths)} {cause} ({', '.join(paths[:NAMED])}{', ...' if len(paths) > NAMED else ''})"
        for cause, paths in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]
    where = f"; the list: {printable(home / 'skipped.txt')}" if home else ""
    return f"{len(skipped):,} of {files:,} files skipped: {', '.join(counts)}{where}" if skipped else ""


def _check_some(folder: Path, paths: Collection[str], causes: dict[str, str], files: int) -> None:
    if not paths:
        why = _summary(sorted(causes.items()), files) or "it is empty"
        raise ValueError(f"{printable(folder)}: there is no image in this folder: {why}")


def _check_share(folder: Path, cached: _Cached, bad: float) -> None:
    """Refuse a folder of which too much is broken. What neither is nor is called an image does not count."""
    innocent = [
        cause in (OUTSIDE, UNLABELLED) or (cause == NOT_AN_IMAGE and not path.lower().endswith(SUFFIXES))
        for path, cause in cached.skipped
    ]
    broken = innocent.count(False)
    share = broken / (broken + len(cached.pixels))
    if share > bad:
        why = _summary(cached.skipped, cached.files, cached.home)
        raise ValueError(f"{folder}: {share:.0%} of the images are bad, more than bad={bad:g} allows: {why}")


def _check_room(part: Path, shape: tuple[int, int, int], images: int) -> None:
    wanted, free = images * math.prod(shape), shutil.disk_usage(part).free
    if wanted > free:
        each_one = " x ".join(map(str, shape))
        raise OSError(
            f"{images:,} images of {each_one} are {wanted / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free: "
            "choose a smaller size"
        )
