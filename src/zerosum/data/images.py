"""A folder of images: every file is decoded once, into one file of bytes that training reads as memory.

Folders of photos hold more than photos: notes, broken downloads, pictures of any size, kind and orientation.
All of that is met before the first turn. What can be read is brought to one shape and written to a cache;
what cannot be read is named, with the cause. The second time nothing is decoded: the folder is listed, and if
no file has changed the cache is mapped into memory, where a batch touches its own rows only. So the images
may be more than the memory holds.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import shutil
import statistics
import struct
import sys
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache as once
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from zerosum.data.arrays import Images
from zerosum.data.download import _locked
from zerosum.randomness import key, stream

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["ImageFolder", "image_folder", "quietly"]

T = TypeVar("T")

FORMATS = "JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "MPO", "PPM", "JPEG2000", "AVIF"
"""What is tried. Not all that Pillow can open: it would start other programs for some formats."""
SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".jp2", ".avif"),
)
"""Names that promise an image: such a file is bad if it holds none, any other file is only something else."""
PIXELS = 1 << 27  # a larger picture (134 megapixels, 0.5 GB decoded) is taken for a decompression bomb
LADDER = 8, 16, 32, 64, 128  # the sizes that are inferred; a larger one has to be asked for
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
THREADS = min(os.cpu_count() or 1, 16)
AHEAD = 64  # files that are decoded before their turn to be written
NAMED = 20  # files that the summary names, of each cause
SPLITS = "train", "test", "valid", "all"
OTHER, OUTSIDE = "not an image", "outside of the splits"
FORM = 2  # of the cache; a cache of another form is not looked at


@dataclass(frozen=True, eq=False)
class ImageFolder(Images):
    """The images of a folder, made by `image_folder`; its pixels lie in a file.

    Arguments:
        flip: Show each image as it is or mirrored, at even odds that follow from (seed, step).
        report: (path in the folder, cause) of each file that was skipped.
    """

    flip: bool = False
    report: tuple[tuple[str, str], ...] = ()

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
        """As `Images.batch`; with `flip`, about half of the images are mirrored, the same ones each time."""
        x, y = super().batch(step, n)
        if not self.flip:
            return x, y
        mirrored = torch.rand(n, generator=stream(self.seed, step, "flip")) < 0.5
        return torch.where(mirrored[:, None, None, None], x.flip(3), x), y


def image_folder(
    path: str | Path | None = None,
    split: str = "train",
    *,
    size: int | tuple[int, int] | None = None,
    channels: Literal[1, 2, 3, 4] | None = None,
    fit: Literal["crop", "fit"] = "crop",
    flip: bool = False,
    low: float = -1.0,
    high: float = 1.0,
    seed: int = 0,
    bad: float = 0.5,
    cache: str | Path | None = None,
) -> ImageFolder:
    """The images in a folder and in all folders below it, decoded the first time and mapped from then on.

    Files: JPEG, PNG, WebP, BMP, TIFF, the first frame of a GIF, PPM, JPEG 2000, AVIF; grey, colour, palette,
    CMYK, transparent, of 1 to 32 bits (16 bits are divided by 257; float images must lie in [0, 1], [0, 255]
    or [0, 65535]); turned as their EXIF data say. The name of a file does not matter; hidden files are
    ignored, links are followed. Whatever else is found is skipped and stands in `report`, in ``skipped.txt``
    beside the cache and, counted, on stderr.

    Labels: if every image lies in a sub-folder, and there are two or more of these, they are the classes.

    Splits: "train", "test" and "all". If the folder has ``train`` and ``test`` (or ``valid``, ``val``), these
    are the splits, and the classes lie below them; with both ``test`` and ``valid`` there is a "valid" split
    too. If not, "test" is the tenth of the images that the hashes of their paths choose (one or more; none
    of fewer than ten), so that it does not change when images are added.

    The cache lies in ``$XDG_CACHE_HOME/zerosum/images`` (``~/.cache/zerosum/images``). It is made again when
    a file is added, removed or changed, and the outdated one is deleted. Processes that want it at the same
    time wait for the one that makes it; one that is killed leaves nothing that is taken for a cache.

    Arguments:
        path: The folder. There is none by default: a recipe for your images says so.
        split: Which part of the images.
        size: The side, or (height, width). None: the size of the images if it is the same for all, at most
            128 and a multiple of 4, else the largest of 8, 16, 32, 64, 128 up to their median shorter side.
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
    >>> images.shape, images.classes, len(images)
    ((1, 8, 8), 0, 9)
    >>> folder.cleanup()
    """
    if path is None:
        raise ValueError("your images are needed: give a folder of them, --data FOLDER")
    form = _Form(_checked_size(size), channels, fit)
    _check(channels, fit, split, bad)
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    root = Path(cache).expanduser().resolve() if cache is not None else _home()
    cached = _cached(folder, form, root)
    _check_share(folder, cached, bad)
    if not _QUIET.get():
        _say(_describe(folder, form, cached))
    _say(_summary(cached.report, cached.files, cached.home))
    if split not in cached.parts:
        has = _join(cached.parts)
        raise ValueError(f"{folder}: its {len(cached.pixels)} images have no split {split!r}, only {has}")

    def opener(name: str) -> ImageFolder:
        rows = slice(*cached.parts[name])
        return ImageFolder(
            cached.pixels[rows],
            torch.tensor(cached.labels[rows]) if cached.class_names else None,
            low,
            high,
            seed,
            name,
            class_names=cached.class_names,
            splits=tuple(cached.parts),
            opener=opener,
            checksum=cached.fingerprint,
            flip=flip,
            report=cached.report,
        )

    return opener(split)


class _Form(NamedTuple):
    """What is asked of every image: all that the cache depends on, beside the files."""

    size: tuple[int, int] | None
    channels: int | None
    fit: str


def _checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"size is a number of pixels or (height, width), 1 or more: got {size}")
    return height, width


def _check(channels: int | None, fit: str, split: str, bad: float) -> None:
    for name, value, known in (
        ("channels", channels, [None, *MODES]),
        ("fit", fit, ["crop", "fit"]),
        ("split", split, [*SPLITS]),
    ):
        if value not in known:
            raise ValueError(f"{name} is one of {_join(known)}: got {value!r}")
    if not 0 <= bad <= 1:
        raise ValueError(f"bad is a share in 0 ... 1: got {bad}")


def _home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zerosum" / "images"


# the files ----------------------------------------------------------------------------------------------


class _File(NamedTuple):
    path: str  # in the folder
    size: int
    modified: int  # nanoseconds


def _walk(folder: Path, leave: Path) -> tuple[list[_File], list[tuple[str, str]]]:
    """All files, sorted by path, and (path, cause) of what cannot be one. The folder `leave` is left out.

    Each folder is entered once, however many links lead to it, and by its own name if it has one in here.
    """
    files: list[_File] = []
    report: list[tuple[str, str]] = []
    entered = {_identity(leave)} if leave.is_dir() else set[tuple[int, int]]()
    waiting = deque([(str(folder), "")])
    while waiting:
        place, prefix = waiting.popleft()
        try:
            identity = _identity(place)
            if identity in entered:
                continue
            entered.add(identity)
            with os.scandir(place) as scan:
                entries = sorted((e for e in scan if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            report.append((prefix, f"cannot be read: {error.strerror}"))
            continue
        for entry in entries:
            path = prefix + entry.name
            try:
                if entry.is_dir():  # links last: what they lead to may have a name in here
                    end = waiting.append if entry.is_symlink() else waiting.appendleft
                    end((entry.path, path + "/"))
                elif entry.is_file():
                    status = entry.stat()
                    files.append(_File(path, status.st_size, status.st_mtime_ns))
                else:
                    broken = entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110
                    report.append((path, "broken link" if broken else "not a file"))
            except OSError as error:  # a link to itself, or a file that has just gone
                report.append((path, f"cannot be read: {error.strerror}"))
    return sorted(files), sorted(report)


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116
    return status.st_dev, status.st_ino


# one image ----------------------------------------------------------------------------------------------


class _Bad(NamedTuple):
    """Why a file is skipped: a few words to count it by, then what is peculiar to it."""

    cause: str


class _Header(NamedTuple):
    width: int
    height: int
    grey: bool
    alpha: bool


def _guarded(work: Callable[[Picture], T], path: str) -> T | _Bad:
    """What `work` makes of the image in a file, or why it cannot: a file may be wrong in any way."""
    from PIL import Image

    try:
        with open(path, "rb") as file:  # noqa: PTH123
            head = file.read(32)
            file.seek(0)
            try:
                with Image.open(file, formats=[form for form in FORMATS if form in Image.OPEN]) as image:
                    if image.width * image.height > PIXELS:
                        raise Image.DecompressionBombError
                    return work(image)
            except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
                return _Bad(_cause(error, head, _is_cut(file, head)))
    except Image.DecompressionBombError:
        return _Bad(f"decompression bomb: more than {PIXELS / 1e6:.0f} megapixels")
    except OSError as error:
        return _Bad(f"cannot be read: {error.strerror}")
    except Exception as error:  # decoders raise anything
        return _Bad(f"broken: {type(error).__name__}: {_printable(error)}")


def _cause(error: Exception, head: bytes, cut: bool) -> str:
    from PIL import Image

    if not head:
        return "empty"
    unknown = isinstance(error, Image.UnidentifiedImageError)
    if unknown and not any(accept and accept(head) is True for _, accept in map(_opener, FORMATS)):
        return OTHER
    text = "its header cannot be read" if unknown else _printable(error)
    return f"{'truncated' if cut or 'truncated' in text.lower() else 'broken'}: {text}"


def _is_cut(file: BinaryIO, head: bytes) -> bool:
    """Whether a file that cannot be decoded is shorter than it says, or lacks its format's last bytes."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - 64))
    tail = file.read()
    if head[:4] in (b"RIFF", b"II*\0", b"MM\0*") and len(head) >= 8:
        stated = int.from_bytes(head[4:8], "big" if head[:1] == b"M" else "little")
        return stated + 8 * (head[:1] == b"R") > length
    ends = {b"\x89P": b"IEND", b"GI": b";", b"\xff\xd8": b"\xff\xd9"}
    return ends.get(head[:2], b"") not in tail


def _opener(form: str) -> Any:
    from PIL import Image

    return Image.OPEN.get(form, (None, None))


def _look(image: Picture) -> _Header:
    """What the header tells; nothing is decoded."""
    width, height = image.size
    turned = "exif" in image.info and _orientation(image) > 4
    size = (height, width) if turned else (width, height)
    return _Header(*size, _is_grey(image), _has_alpha(image))


def _orientation(image: Picture) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # broken EXIF data do not make a broken image
        return 1


def _is_grey(image: Picture) -> bool:
    if image.mode == "P" and image.palette is not None:
        palette = image.getpalette("RGB") or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode[0] in "1LIF" and image.mode != "LAB"


def _has_alpha(image: Picture) -> bool:
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _is_seen_through(image: Picture) -> bool:
    return _has_alpha(image) and image.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def _decode(image: Picture, shape: tuple[int, int, int], fit: str) -> bytes:
    """The image in bytes ``[C, H, W]``."""
    channels, height, width = shape
    side = 2 * max(height, width)
    image.draft(None, (side, side))  # a JPEG is decoded at a half, a quarter, an eighth of its size
    image.load()
    upright = _turn(image)  # after loading: Pillow may have turned a TIFF itself
    pixels = np.asarray(_resize(_convert(upright, MODES[channels]), (width, height), fit))
    return pixels.reshape(height, width, channels).transpose(2, 0, 1).tobytes()


def _turn(image: Picture) -> Picture:
    """Upright, as the EXIF orientation says (JEITA CP-3451, tag 0x0112)."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _convert(image: Picture, mode: str) -> Picture:
    """In 8 bits and `mode`; where the mode has no alpha, on white."""
    from PIL import Image

    if image.mode[0] in "IF":
        image = _eight_bits(image)
    if not _has_alpha(image):
        return image.convert("L" if image.mode in ("1", "L") else "RGB").convert(mode)
    image = image.convert("RGBA")
    if not mode.endswith("A"):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _eight_bits(image: Picture) -> Picture:
    """Grey levels of 16 or 32 bits, or floats: white is the smallest full scale that holds the values."""
    from PIL import Image

    levels = np.asarray(image).astype(np.float32)
    scales = {"F": (1, 255, 65535), "I": (65535, 2**31 - 1)}.get(image.mode, (65535,))
    white = next((scale for scale in scales if levels.max() <= scale), None)
    if white is None or levels.min() < 0:
        raise ValueError(f"its values run from {levels.min():g} to {levels.max():g}, which is no known scale")
    return Image.fromarray((levels * (255 / white)).round().astype(np.uint8))


def _resize(image: Picture, size: tuple[int, int], fit: str) -> Picture:
    """To size = (width, height): Lanczos, after a reduction by a whole number if it is far larger."""
    from PIL import Image

    (w, h), (width, height) = image.size, size
    scale = partial(image.resize, resample=Image.Resampling.LANCZOS, reducing_gap=2.0)
    if fit == "crop":
        over = min(w / width, h / height)
        left, top = (w - over * width) / 2, (h - over * height) / 2
        return scale(size, box=(left, top, w - left, h - top))
    over = max(w / width, h / height)
    inside = min(width, max(1, round(w / over))), min(height, max(1, round(h / over)))
    canvas = Image.new(image.mode, size)
    canvas.paste(scale(inside), ((width - inside[0]) // 2, (height - inside[1]) // 2))
    return canvas


# all images ---------------------------------------------------------------------------------------------


def _each(work: Callable[[Picture], T], folder: Path, paths: Sequence[str], what: str) -> Iterator[T | _Bad]:
    """What `work` makes of each file, in order; in threads, for Pillow decodes and scales outside the GIL."""
    pending: deque[Future[T | _Bad]] = deque()
    with ThreadPoolExecutor(THREADS) as pool, _progress(f"{folder.name}: {what}", len(paths)) as advance:
        for i in range(len(paths) + AHEAD):
            if i < len(paths):
                pending.append(pool.submit(_guarded, work, f"{folder}/{paths[i]}"))
            if pending and i >= AHEAD:
                yield pending.popleft().result()
                advance()


@contextmanager
def _progress(what: str, total: int) -> Generator[Callable[[], None]]:
    """A bar with the time that is left on stderr if that is a terminal, else one plain line."""
    if _QUIET.get():
        yield lambda: None
        return
    if not sys.stderr.isatty():
        print(f"{what} {total:,} files", file=sys.stderr)
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def _infer(folder: Path, headers: dict[str, _Header], form: _Form) -> tuple[int, int, int]:
    """The shape [C, H, W] of all images: as asked, else by the rules that `image_folder` states."""
    height, width = form.size or _infer_size(list(headers.values()))
    return form.channels or _infer_channels(folder, headers), height, width


def _infer_size(headers: list[_Header]) -> tuple[int, int]:
    sizes = {(header.height, header.width) for header in headers}
    common = min(sizes)
    if len(sizes) == 1 and max(common) <= LADDER[-1] and all(side % 4 == 0 for side in common):
        return common
    typical = statistics.median(min(header.height, header.width) for header in headers)
    side = max((side for side in LADDER if side <= typical), default=LADDER[0])
    return side, side


def _infer_channels(folder: Path, headers: dict[str, _Header]) -> int:
    if all(header.grey for header in headers.values()):
        return 1
    able = [path for path, header in headers.items() if header.alpha]
    if 2 * len(able) <= len(headers):
        return 3
    looked = sorted(able, key=key)[:100]  # an alpha channel is often there but opaque: that takes decoding
    used = sum(made is True for made in _each(_is_seen_through, folder, looked, "looking through"))
    return 4 if 2 * used * len(able) > len(looked) * len(headers) else 3


def _parts(paths: list[str]) -> dict[str, list[str]]:
    """The paths of each part, by hash; one part with no name if the folder is not split."""
    tops = {path.split("/")[0].casefold() for path in paths if "/" in path}
    held = [name for name in ("test", "valid", "val") if name in tops]
    names = {"train": "train", **dict(zip(held, ("test", "valid"), strict=False))}
    if "train" not in tops or not held:
        return {"": sorted(paths, key=key)}
    parts: dict[str, list[str]] = {name: [] for name in names.values()}
    for path in sorted(paths, key=key):
        if part := names.get(path.split("/")[0].casefold()):
            parts[part].append(path)
    return parts


def _rows(parts: dict[str, list[str]]) -> dict[str, list[int]]:
    """The first and one past the last row of each split that has any; rows lie as `_joined` has them."""
    if paths := parts.get(""):
        chosen = sum(key(path) < 2**63 // 10 for path in paths)
        test = min(max(chosen, 1), len(paths) - 1) if len(paths) >= 10 else 0
        parts = {"test": paths[:test], "train": paths[test:]}
    ends = [*accumulate(map(len, parts.values()), initial=0)]
    rows = dict(zip(parts, map(list, pairwise(ends)), strict=True)) | {"all": [0, ends[-1]]}
    return {name: rows[name] for name in SPLITS if name in rows and rows[name][0] < rows[name][1]}


def _joined(parts: dict[str, list[str]]) -> list[str]:
    return [path for paths in parts.values() for path in paths]


def _tops(parts: dict[str, list[str]]) -> list[str]:
    """The sub-folder of each row, below the folder of its split; "" for an image in none."""
    depth = 0 if "" in parts else 1
    inner = [path.split("/")[depth:] for path in _joined(parts)]
    return [names[0] if len(names) > 1 else "" for names in inner]


# the cache ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cached:
    home: Path
    pixels: Tensor  # uint8 [N, C, H, W], mapped
    parts: dict[str, list[int]]  # split -> first row, last row + 1
    labels: list[int]
    class_names: tuple[str, ...]
    report: tuple[tuple[str, str], ...]
    files: int
    fingerprint: str


def _cached(folder: Path, form: _Form, root: Path) -> _Cached:
    """The cache of the folder as it is now: read, or made if there is none."""
    place = root / f"{folder.name[:40]}-{_digest(str(folder))}"
    files, report = _walk(folder, leave=place)
    listing = "\0".join(f"{file.path}\0{file.size}\0{file.modified}" for file in files)
    home = place / f"{_digest(f'{FORM} {report} {listing}')}-{_digest(repr(form))}"
    if cached := _read(home):
        return cached
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _locked(place / ".lock"):  # another process may have made it in the meantime
            return _read(home) or _make(home, folder, files, report, form)
    except OSError as error:
        hint = "give another folder with the argument `cache` or with XDG_CACHE_HOME"
        raise OSError(
            f"{root}: the images cannot be kept there ({error.strerror or error}): {hint}"
        ) from error


def _read(home: Path) -> _Cached | None:
    """The cache in a folder, or None if there is none or a damaged one."""
    try:
        digest, body = (home / "index.json").read_text().split("\n", 1)
        with (home / "pixels.bin").open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    if digest != _digest(body):
        return None
    index = json.loads(body)
    if len(mapped) != math.prod(index["shape"]):
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")  # nor should it be
        pixels = torch.frombuffer(mapped, dtype=torch.uint8).reshape(index["shape"])
    report = tuple((path, cause) for path, cause in index["report"])
    names = tuple(index["class_names"])
    files, fingerprint = index["files"], index["fingerprint"]
    return _Cached(home, pixels, index["parts"], index["labels"], names, report, files, fingerprint)


def _make(
    home: Path, folder: Path, files: list[_File], report: list[tuple[str, str]], form: _Form
) -> _Cached:
    """Make a cache under another name, then give it its own; nobody else is at it. Then clear up."""
    for left in home.parent.glob("*.part"):  # of processes that were killed
        shutil.rmtree(left)
    part = home.with_name(home.name + ".part")
    part.mkdir()
    try:
        _fill(part, folder, files, report, form)
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


def _fill(part: Path, folder: Path, files: list[_File], report: list[tuple[str, str]], form: _Form) -> None:
    """Decode the images of a folder into ``pixels.bin``; describe them in ``index.json``, ``skipped.txt``."""
    from PIL import Image

    Image.init()  # here, not in several threads at once
    causes, total = dict(report), len(files) + len(report)
    seen = hashlib.blake2b(digest_size=8)
    with warnings.catch_warnings(), (part / "pixels.bin").open("wb") as pixels:
        warnings.simplefilter("ignore")  # what Pillow warns of is met: sizes, EXIF data, palettes
        found = [file.path for file in files]
        _check_some(folder, found, causes, total)
        headers = dict(_good(_look, folder, found, "looking at", causes))
        parts = _parts(list(headers))
        headers = _placed(headers, parts, causes)
        _check_some(folder, headers, causes, total)
        shape = _infer(folder, headers, form)
        decode, paths = partial(_decode, shape=shape, fit=form.fit), _joined(parts)
        for _, image in _good(decode, folder, paths, "decoding", causes):
            pixels.write(image)
            seen.update(image)
        pixels.flush()
        os.fsync(pixels.fileno())
    parts = {name: [path for path in paths if path not in causes] for name, paths in parts.items()}
    _check_some(folder, _joined(parts), causes, total)
    tops = _tops(parts)
    names = sorted(set(tops)) if all(tops) and len(set(tops)) > 1 else []
    label = {name: i for i, name in enumerate(names)}
    index: dict[str, Any] = {
        "shape": [len(tops), *shape],
        "parts": _rows(parts),
        "labels": [label[top] for top in tops] if names else [],
        "class_names": names,
    }
    fingerprint = _digest(f"{seen.hexdigest()} {json.dumps(index)}")
    index |= {"report": sorted(causes.items()), "files": total, "fingerprint": fingerprint}
    _write_index(part, index)


def _good(
    work: Callable[[Picture], T], folder: Path, paths: Sequence[str], what: str, causes: dict[str, str]
) -> Iterator[tuple[str, T]]:
    """(path, what `work` makes of it) where it can; why it cannot goes to `causes`."""
    for path, made in zip(paths, _each(work, folder, paths, what), strict=True):
        if isinstance(made, _Bad):
            causes[path] = made.cause
        else:
            yield path, made


def _placed(
    headers: dict[str, _Header], parts: dict[str, list[str]], causes: dict[str, str]
) -> dict[str, _Header]:
    """Without the images that lie beside the folders of the splits."""
    inside = set(_joined(parts))
    causes.update({path: OUTSIDE for path in headers if path not in inside})
    return {path: header for path, header in headers.items() if path in inside}


def _write_index(part: Path, index: dict[str, Any]) -> None:
    body = json.dumps(index)
    (part / "index.json").write_text(f"{_digest(body)}\n{body}")
    lines = [f"{_printable(path)}\t{cause}\n" for path, cause in index["report"]]
    (part / "skipped.txt").write_text("".join(lines), encoding="utf-8")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()


# what is said -------------------------------------------------------------------------------------------

_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def quietly(quiet: bool = True) -> Generator[None]:
    """In here, folders that are read say nothing but which files were skipped, and why."""
    before = _QUIET.set(quiet)
    try:
        yield
    finally:
        _QUIET.reset(before)


@once
def _say(line: str) -> None:
    """Print a line on stderr, once in a process: an evaluation opens several splits of one folder."""
    if line:
        print(line, file=sys.stderr)


def _describe(folder: Path, form: _Form, cached: _Cached) -> str:
    """What the images are taken for."""
    inferred = [name for name in ("size", "channels") if getattr(form, name) is None]
    shape = " x ".join(map(str, cached.pixels.shape[1:]))
    labels = f"{len(cached.class_names)} classes" if cached.class_names else "no labels"
    parts = ", ".join(f"{b - a:,} {name}" for name, (a, b) in cached.parts.items() if name != "all")
    chosen = f" ({' and '.join(inferred)} inferred)" if inferred else ""
    return f"{folder}: {len(cached.pixels):,} images of {shape}{chosen}, {labels}; {parts}"


def _summary(report: Sequence[tuple[str, str]], files: int, home: Path | None = None) -> str:
    """Which files were skipped, and why, in one line; nothing if none was."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path, cause in report:
        groups[cause.split(":")[0]].append(_printable(path))
    counts = [
        f"{len(paths)} {cause} ({', '.join(paths[:NAMED])}{', ...' if len(paths) > NAMED else ''})"
        for cause, paths in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]
    where = f"; the list: {home / 'skipped.txt'}" if home else ""
    return f"{len(report):,} of {files:,} files skipped: {', '.join(counts)}{where}" if report else ""


def _check_some(folder: Path, paths: Collection[str], causes: dict[str, str], files: int) -> None:
    if not paths:
        why = _summary(sorted(causes.items()), files) or "it is empty"
        raise ValueError(f"{folder}: there is no image in this folder: {why}")


def _check_share(folder: Path, cached: _Cached, bad: float) -> None:
    """Refuse a folder of which too much is broken. What neither is nor is called an image does not count."""
    innocent = [
        cause == OUTSIDE or (cause == OTHER and not path.lower().endswith(SUFFIXES))
        for path, cause in cached.report
    ]
    broken = innocent.count(False)
    share = broken / (broken + len(cached.pixels))
    if share > bad:
        why = _summary(cached.report, cached.files, cached.home)
        raise ValueError(f"{folder}: {share:.0%} of the images are bad, more than bad={bad:g} allows: {why}")


def _printable(text: object) -> str:
    return "".join(c if c.isprintable() else "?" for c in str(text))


def _join(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
