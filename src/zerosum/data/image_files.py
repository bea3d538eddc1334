"""The one reader of picture files: for training, for judging, for data sets of the hub.

A file may be wrong in any way. What cannot be read is a `Bad` with its cause, never an exception; what can is
brought to uint8 [C, H, W] of the shape that is wanted.
"""

from __future__ import annotations

import os
import statistics
import struct
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeVar

import numpy as np

from zerosum.data.progress import progress
from zerosum.text import printable

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["FORMATS", "SUFFIXES", "Bad", "Form", "decode", "each", "header", "infer", "read"]

T = TypeVar("T")

FORMATS = "JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "MPO", "PPM", "JPEG2000", "AVIF"
"""What is tried. Not all that Pillow can open: it would start other programs for some formats."""
SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".jp2", ".avif"),
)
"""Names that promise an image: such a file is bad if it holds none, any other file is only something else."""
PIXELS = 1 << 27  # a larger picture (134 megapixels, 0.5 GB decoded) is taken for a decompression bomb
LADDER = 8, 16, 32, 64  # the sizes that are inferred; a larger one has to be asked for
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
THREADS = min(os.cpu_count() or 1, 16)
AHEAD = 64  # files that are decoded before their turn
NOT_AN_IMAGE = "not an image"

File = str | bytes
"""The path of a file, or what is in it."""


class Bad(NamedTuple):
    """Why a file cannot be used: a few words to count it by, then what is peculiar to it."""

    cause: str


class Header(NamedTuple):
    """What the header of a file tells of its picture, as it is shown."""

    width: int
    height: int
    grey: bool
    alpha: bool


class Form(NamedTuple):
    """What is wanted of every picture; None and "same" are settled by all of them together (`infer`)."""

    size: tuple[int, int] | Literal["same"] | None = None
    channels: int | None = None
    fit: Literal["crop", "fit"] = "crop"

    @classmethod
    def of(cls, size: Any, channels: Any, fit: Any) -> Form:
        """The form, checked. Raises ValueError for what cannot be."""
        for name, value, choices in (("channels", channels, [None, *MODES]), ("fit", fit, ["crop", "fit"])):
            if value not in choices:
                raise ValueError(f"{name} is one of {', '.join(map(str, choices))}: got {value!r}")
        if size is None or size == "same":
            return cls(size, channels, fit)
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
            raise ValueError(f"size is a number of pixels or (height, width), 1 or more: got {size}")
        height, width = map(int, sides)
        if height * width > PIXELS:
            raise ValueError(f"size is at most {PIXELS / 1e6:.0f} megapixels in all: got {height} x {width}")
        return cls((height, width), channels, fit)


def header(image: Picture) -> Header:
    """What the header tells; nothing is decoded."""
    width, height = image.size
    turned = "exif" in image.info and _orientation(image) > 4
    size = (height, width) if turned else (width, height)
    return Header(*size, _is_grey(image), _has_alpha(image))


def decode(image: Picture, shape: tuple[int, int, int], fit: str) -> bytes:
    """The image in bytes ``[C, H, W]``."""
    channels, height, width = shape
    side = 2 * max(height, width)
    image.draft(None, (side, side))  # a JPEG is decoded at a half, a quarter, an eighth of its size
    image.load()
    upright = _turn(image)  # after loading: Pillow may have turned a TIFF itself
    pixels = np.asarray(_resize(_convert(upright, MODES[channels]), (width, height), fit))
    return pixels.reshape(height, width, channels).transpose(2, 0, 1).tobytes()


def read(work: Callable[[Picture], T], file: File) -> T | Bad:
    """What `work` makes of the image in a file, or why it cannot."""
    from PIL import Image

    try:
        with _opened(file) as stream:
            head = stream.read(32)
            stream.seek(0)
            try:
                with Image.open(stream, formats=_formats()) as image:
                    if image.width * image.height > PIXELS:
                        raise Image.DecompressionBombError
                    return work(image)
            except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
                return Bad(_cause(error, head, _is_cut(stream, head)))
    except Image.DecompressionBombError:
        return Bad(f"decompression bomb: more than {PIXELS / 1e6:.0f} megapixels")
    except OSError as error:
        return Bad(f"cannot be read: {error.strerror}")
    except Exception as error:  # decoders raise anything
        return Bad(f"broken: {type(error).__name__}: {printable(error)}")


def each(
    work: Callable[[Picture], T], places: Sequence[int], file: Callable[[int], File], what: str = ""
) -> Iterator[T | Bad]:
    """What `work` makes of file(i) for each place i, in order; in threads: Pillow works outside the GIL.

    what: what is done, in words, where it takes long enough for its progress to be shown.
    """
    _formats()  # here, not in several threads at once
    pending: deque[Future[T | Bad]] = deque()
    shown = progress(what, "files") if what else nullcontext(lambda done, total: None)
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool, shown as advance:
        warnings.simplefilter("ignore")  # what Pillow warns of is met: sizes, EXIF data, palettes
        try:
            for i in range(len(places) + AHEAD):
                if i < len(places):
                    pending.append(pool.submit(read, work, file(places[i])))
                if pending and i >= AHEAD:
                    yield pending.popleft().result()
                    advance(i - AHEAD + 1, len(places))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # an interrupt does not wait for those ahead


def infer(headers: Sequence[Header], form: Form, file: Callable[[int], File]) -> tuple[int, int, int]:
    """The shape [C, H, W] of all: as wanted, else by the rules that `zerosum.data.image_folder` states.

    file: i -> the file of headers[i]. Raises ValueError where the same size is wanted of different ones.
    """
    height, width = form.size if isinstance(form.size, tuple) else _infer_size(headers, form.size is None)
    return form.channels or _infer_channels(headers, file), height, width


def _infer_size(headers: Sequence[Header], scaled: bool) -> tuple[int, int]:
    sizes = {(header.height, header.width) for header in headers}
    common = min(sizes)
    if not scaled:
        if len(sizes) > 1:
            examples = " and ".join(f"{h} x {w}" for h, w in sorted(sizes)[:2])
            raise ValueError(f"the images are of {len(sizes)} sizes, such as {examples}: give size=N")
        return common
    if len(sizes) == 1 and max(common) <= LADDER[-1] and all(side % 4 == 0 for side in common):
        return common
    typical = statistics.median(min(header.height, header.width) for header in headers)
    side = max((side for side in LADDER if side <= typical), default=LADDER[0])
    return side, side


def _infer_channels(headers: Sequence[Header], file: Callable[[int], File]) -> int:
    if all(header.grey for header in headers):
        return 1
    able = [i for i, header in enumerate(headers) if header.alpha]
    if 2 * len(able) <= len(headers):
        return 3
    looked = able[:: -(-len(able) // 100)]  # an alpha channel is often there but opaque: it takes decoding
    answers = each(_is_seen_through, looked, file, "looking through")
    used = sum(answer is True for answer in answers)
    return 4 if 2 * used * len(able) > len(looked) * len(headers) else 3


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(form for form in FORMATS if form in Image.OPEN)


def _opened(file: File) -> Any:
    return BytesIO(file) if isinstance(file, bytes) else open(file, "rb")  # noqa: PTH123


def _cause(error: Exception, head: bytes, cut: bool) -> str:
    from PIL import Image

    if not head:
        return "empty"
    unknown = isinstance(error, Image.UnidentifiedImageError)
    if unknown and not any(accept and accept(head) is True for _, accept in map(_opener, FORMATS)):
        return NOT_AN_IMAGE
    text = "its header cannot be read" if unknown else printable(error)
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
        left, top = max(0.0, w - over * width) / 2, max(0.0, h - over * height) / 2  # but for rounding
        return scale(size, box=(left, top, w - left, h - top))
    over = max(w / width, h / height)
    inside = min(width, max(1, round(w / over))), min(height, max(1, round(h / over)))
    canvas = Image.new(image.mode, size)
    canvas.paste(scale(inside), ((width - inside[0]) // 2, (height - inside[1]) // 2))
    return canvas
