"""Pictures of samples: grids of images, clouds of points, films. Arrays in, a PIL image or a file out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from math import ceil, floor, log10, sqrt
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["LARGEST", "beside", "cloud", "columns_for", "grid_size", "tiles", "write_gif", "write_mp4"]

LARGEST = 2**26  # pixels of a picture, at most
SIDE = 1000  # small images are enlarged until a picture has about so many pixels on its longer side
_REAL, _FAKE, _INK, _LINE = (190, 190, 190), (0, 90, 181), (60, 60, 60), (225, 225, 225)
_RATE = 25  # frames of a film per second


def grid_size(rows: int, columns: int, height: int, width: int, side: int = SIDE) -> tuple[int, int, int]:
    """The whole factor by which images are enlarged in a grid, and the grid's height and width in pixels.

    Raises ValueError for a grid of more pixels than a picture may have.

    >>> grid_size(8, 8, 8, 8), grid_size(1, 3, 256, 256)
    ((14, 959, 959), (1, 258, 772))
    """
    zoom = max(1, round(side / max(rows * (height + 1), columns * (width + 1))))
    gap = max(1, zoom // 2)
    h, w = rows * (height * zoom + gap) + gap, columns * (width * zoom + gap) + gap
    if h * w > LARGEST:
        most = LARGEST // ((height + 1) * (width + 1))
        raise ValueError(
            f"a grid of {rows:,} x {columns:,} images of {height} x {width} would be {w:,} x {h:,} pixels: "
            f"a picture holds about {most:,} of them; more fit into a folder, .npy or .npz"
        )
    return zoom, h, w


def tiles(pixels: np.ndarray, columns: int | None = None, side: int = SIDE) -> Image:
    """Images uint8 ``[N, C, H, W]`` side by side, enlarged by a whole factor to about `side` pixels in all.

    C is 1 (grey), 3 (RGB), 4 (RGBA) or 2 (grey with alpha); of more channels each is a grey image of its own.
    columns: about the square root of N unless given. Raises ValueError for too many.
    """
    from PIL import Image

    n, channels, height, width = pixels.shape
    if channels > 4:
        return tiles(pixels.reshape(-1, 1, height, width), channels * (columns or 1), side)
    columns = columns or columns_for(n)
    zoom, sheet_height, sheet_width = grid_size(-(-n // columns), columns, height, width, side)
    gap = max(1, zoom // 2)
    h, w = height * zoom + gap, width * zoom + gap
    sheet = np.zeros((sheet_height, sheet_width, channels), dtype=np.uint8)
    for i, image in enumerate(pixels):
        top, left = i // columns * h + gap, i % columns * w + gap
        big = image.repeat(zoom, axis=1).repeat(zoom, axis=2)
        sheet[top : top + h - gap, left : left + w - gap] = big.transpose(1, 2, 0)
    return Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet)


def columns_for(n: int, classes: int = 1) -> int:
    """Columns for an about square grid of `n` images whose classes come in turn: each column is of one class.

    >>> columns_for(64), columns_for(64, classes=2), columns_for(64, classes=10), columns_for(4, classes=10)
    (8, 8, 10, 2)
    """
    turn = classes if 1 <= classes <= n else 1
    return turn * ceil(sqrt(n) / turn)


def beside(images: np.ndarray, others: np.ndarray, captions: Sequence[Sequence[str]]) -> Image:
    """Each image uint8 ``[N, C, H, W]`` in a row with its k others ``[N, k, C, H, W]``, two rows side by
    side.

    captions: 1 + k words for each row, one above each image. Of more than four channels the first is shown.
    """
    from PIL import Image, ImageDraw

    n, channels, height, width = images.shape
    shown = slice(0, channels if channels in (1, 3) else 3 if channels == 4 else 1)
    row = np.concatenate([images[:, None], others], axis=1)[:, :, shown]
    k = row.shape[1]
    columns = 2 if n > 1 else 1
    zoom = max(1, min(SIDE // (columns * k * width), 128 // min(height, width)))
    cell = max(width * zoom, 72)
    strip, line = (cell + 4) * k + 12, height * zoom + 20
    rows = -(-n // columns)
    if rows * line * columns * strip > LARGEST:
        raise ValueError(f"{n:,} rows of {k} images of {height} x {width} are too many for a picture: --n 50")
    sheet = Image.new("RGB", (columns * strip, rows * line + 4), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (pictures, words) in enumerate(zip(row, captions, strict=True)):
        for j, (picture, word) in enumerate(zip(pictures, words, strict=True)):
            left, top = i % columns * strip + j * (cell + 4) + 4, i // columns * line + 2
            draw.text((left, top), word, fill=_INK if j else _FAKE, font=_font(11))
            big = picture.repeat(zoom, axis=1).repeat(zoom, axis=2).transpose(1, 2, 0)
            sheet.paste(Image.fromarray(big[:, :, 0] if big.shape[2] == 1 else big), (left, top + 15))
    return sheet


def write_gif(frames: Iterator[Image], file: BinaryIO) -> None:
    """A film of 25 frames a second that begins again without end."""
    first = next(frames)
    first.save(
        file, format="GIF", save_all=True, append_images=frames, duration=1000 // _RATE, loop=0, disposal=2
    )


def write_mp4(frames: Iterator[Image], file: BinaryIO) -> None:
    """A film of 25 frames a second, H.264. Raises ImportError where PyAV is not installed."""
    import av  # pyright: ignore[reportMissingImports]

    first = next(frames)
    width, height = (side + side % 2 for side in first.size)  # H.264 wants even sides
    with av.open(file, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=_RATE, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in chain([first], frames):
            whole = image.convert("RGB").crop((0, 0, width, height))
            film.mux(stream.encode(av.VideoFrame.from_image(whole)))
        film.mux(stream.encode())


# points -------------------------------------------------------------------------------------------------

_LEFT, _TOP, _EDGE = 56, 28, 40  # margins of a cloud, for numbers, the legend, and the name of an axis


def cloud(
    fake: np.ndarray,
    real: np.ndarray | None = None,
    side: int = 640,
    names: Sequence[str] = (),
    fake_name: str = "samples",
) -> Image:
    """Points ``[N, d]`` by their first two coordinates: real in grey below, fake in blue above, with axes.

    Of one coordinate (d = 1) the densities are drawn, as histograms. The frame is that of the real points
    where there are any, so that pictures of one run can be flipped through; points outside of it, or not
    finite, are left out. names: of the two coordinates.
    """
    from PIL import Image, ImageDraw

    fake, real = _finite(fake), _finite(fake[:0] if real is None else real)
    both = [(points, colour) for points, colour in ((real, _REAL), (fake, _FAKE)) if len(points)]
    stacked = fake.shape[1] == 1
    if stacked and both:
        edges = np.linspace(*_apart(both[0][0].min(), both[0][0].max()), 65)
        both = [(_outline(points[:, 0], edges), colour) for points, colour in both]
    frame = both[0][0][:, :2] if both else np.array([[0.0, 0.0], [1.0, 1.0]])
    low, high = _apart(frame.min(axis=0), frame.max(axis=0))
    margin = 0.1 * (high - low)
    low, high = low - margin * [1, not stacked], high + margin
    within = np.array([side - _LEFT - 8, side - _TOP - _EDGE])
    sheet = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(sheet)
    _axes(draw, low, high, within, names, stacked)
    for points, colour in both:
        at = (points[:, :2] - low) / (high - low) * within
        at = at if stacked else at[((at >= 1) & (at <= within - 1)).all(axis=1)]
        places = [(_LEFT + x, _TOP + int(within[1]) - y) for x, y in at.clip(0, within).astype(int).tolist()]
        if stacked:
            draw.line(places, fill=colour, width=3 if colour == _REAL else 2)
            continue
        for x, y in places:
            draw.rectangle((x - 1, y - 1, x, y), fill=colour)
    _legend(draw, ([("data", _REAL)] if len(real) else []) + [(fake_name, _FAKE)], side)
    return sheet


def _apart(low: Any, high: Any) -> tuple[Any, Any]:
    """The same bounds, moved apart where a hundred numbers would not fit between them."""
    least = np.maximum(1e-9, 128 * np.spacing(np.maximum(abs(low), abs(high))))
    missing = np.maximum(least - (high - low), 0) / 2
    return low - missing, high + missing


def _outline(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The steps of a histogram, ``[2 bins, 2]``: (x, density)."""
    counts = np.histogram(x, edges)[0] / max(len(x), 1)
    return np.stack([edges.repeat(2)[1:-1], counts.repeat(2)], axis=1)


def _axes(
    draw: Any, low: np.ndarray, high: np.ndarray, within: np.ndarray, names: Sequence[str], stacked: bool
) -> None:
    """A frame with lines and numbers at round values, and the names of the axes."""
    right, bottom = _LEFT + int(within[0]), _TOP + int(within[1])
    draw.rectangle((_LEFT, _TOP, right, bottom), outline=_INK)
    for value in _round_values(low[0], high[0]):
        x = _LEFT + int((value - low[0]) / (high[0] - low[0]) * within[0])
        draw.line((x, _TOP + 1, x, bottom - 1), fill=_LINE)
        draw.text((x, bottom + 4), f"{value:.6g}", fill=_INK, font=_font(11), anchor="ma")
    for value in [] if stacked else _round_values(low[1], high[1]):
        y = bottom - int((value - low[1]) / (high[1] - low[1]) * within[1])
        draw.line((_LEFT + 1, y, right - 1, y), fill=_LINE)
        draw.text((_LEFT - 4, y), f"{value:.6g}", fill=_INK, font=_font(11), anchor="rm")
    across, along = (*names[:2], "", "")[:2]
    draw.text(((_LEFT + right) // 2, bottom + 20), across[:60], fill=_INK, font=_font(12), anchor="ma")
    draw.text((8, 8), "density" if stacked else along[:30], fill=_INK, font=_font(12), anchor="la")


def _legend(draw: Any, names: Sequence[tuple[str, tuple[int, int, int]]], side: int) -> None:
    left = side - 8
    for name, colour in reversed(names):
        left -= int(draw.textlength(name, font=_font(12))) + 4
        draw.text((left, 8), name, fill=_INK, font=_font(12), anchor="la")
        left -= 14
        draw.rectangle((left, 10, left + 9, 19), fill=colour)
        left -= 14


def _round_values(low: float, high: float) -> list[float]:
    """About five round numbers from low to high.

    >>> _round_values(-1.2, 1.3)
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    rough = (high - low) / 5
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough * 0.999)
    return [k * step for k in range(ceil(low / step), floor(high / step) + 1)]


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _finite(points: np.ndarray) -> np.ndarray:
    return points[np.isfinite(points).all(axis=1)]
