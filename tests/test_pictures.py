"""Pictures show every pixel and every point once, where it belongs, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zerosum import data
from zerosum.pictures import LARGEST, beside, cloud, grid_size, tiles

GREY, BLUE = (190, 190, 190), (0, 90, 181)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def colours(image) -> set[tuple[int, ...]]:
    return {tuple(int(v) for v in colour) for colour in np.unique(np.asarray(image).reshape(-1, 3), axis=0)}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("n", "height", "width"), [(2, 2, 2), (2, 8, 8), (7, 5, 3), (10, 28, 28), (3, 40, 64)]
)
def test_tiles_show_every_image_enlarged_in_reading_order(
    channels: int, n: int, height: int, width: int
) -> None:
    pixels = noise(n, channels, height, width)
    image = tiles(pixels, columns=2)
    assert image.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    sheet = np.asarray(image).reshape(image.height, image.width, channels)
    rows = (n + 1) // 2
    zoom, *size = grid_size(rows, 2, height, width)
    gap = max(1, zoom // 2)
    assert 500 < max(size) <= 1500 or zoom == 1
    assert (image.height, image.width) == (rows * (height * zoom + gap) + gap, 2 * (width * zoom + gap) + gap)
    shown = np.zeros(sheet.shape[:2], dtype=bool)
    for i, picture in enumerate(pixels):
        for y in range(height):
            for x in range(width):
                top = gap + (i // 2) * (height * zoom + gap) + y * zoom
                left = gap + (i % 2) * (width * zoom + gap) + x * zoom
                square = np.s_[top : top + zoom, left : left + zoom]
                assert (sheet[square] == picture[:, y, x]).all()
                assert not shown[square].any()
                shown[square] = True
    assert (sheet[~shown] == 0).all()


def test_tiles_are_about_square_unless_columns_are_given() -> None:
    assert tiles(noise(64, 1, 32, 32), side=1).size == (8 * 33 + 1, 8 * 33 + 1)
    assert tiles(noise(10, 1, 32, 32), side=1).size == (4 * 33 + 1, 3 * 33 + 1)
    assert tiles(noise(10, 1, 32, 32), columns=10, side=1).size == (10 * 33 + 1, 33 + 1)


@pytest.mark.parametrize(("pixels", "zoom"), [(8, 14), (28, 4), (64, 2), (128, 1)])
def test_a_grid_of_64_images_is_enlarged_to_be_seen(pixels: int, zoom: int) -> None:
    assert grid_size(8, 8, pixels, pixels)[0] == zoom


def test_more_channels_than_colours_become_grey_images_side_by_side() -> None:
    pixels = noise(3, 5, 32, 32)
    assert tiles(pixels).tobytes() == tiles(pixels.reshape(15, 1, 32, 32), columns=5).tobytes()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_beside_keeps_every_pixel_and_has_words_over_each_image(channels: int) -> None:
    images, others = noise(3, channels, 8, 8), noise(3, 2, channels, 8, 8)
    sheet = np.asarray(beside(images, others, [["sample", "nearest", "2nd"]] * 3).convert("RGB"))
    shown = min(channels, 3) if channels in (1, 3, 4) else 1
    blank = np.asarray(beside(images, others, [["", "", ""]] * 3).convert("RGB"))
    assert (sheet != blank).any()
    for picture in (*images, *others.reshape(-1, channels, 8, 8)):
        grey = np.repeat(picture[:shown], 3 // shown, axis=0).transpose(1, 2, 0)
        big = grey.repeat(16, axis=0).repeat(16, axis=1)
        rows = np.lib.stride_tricks.sliding_window_view(sheet[::1, :, 0], (1, 128))[:, :, 0]
        starts = np.argwhere((rows == big[0, :, 0]).all(axis=2))
        assert any((sheet[y : y + 128, x : x + 128] == big).all() for y, x in starts)


@pytest.mark.parametrize("size", [(10**5, 10**5, 8, 8), (1, 10**9, 1, 1), (200, 200, 256, 256)])
def test_a_picture_that_cannot_be_is_refused_with_what_can(size: tuple[int, int, int, int]) -> None:
    rows, columns, height, width = size
    with pytest.raises(ValueError):
        grid_size(rows, columns, height, width)
    side = int((LARGEST / 66**2) ** 0.5)
    assert max(grid_size(side, side, 64, 64)[1:]) ** 2 <= LARGEST * 1.1


def shown_at(image, colour) -> np.ndarray:
    """(x, y) of the pixels of a colour within the frame of a cloud, from its lower left, in shares of it."""
    sheet = np.asarray(image)[28:-40, 56:-8]
    y, x = np.argwhere((sheet == colour).all(axis=2)).T
    return np.stack([x / sheet.shape[1], 1 - y / sheet.shape[0]], axis=1)


def test_cloud_puts_a_point_where_it_belongs() -> None:
    corners = np.array([[-1.0, -1.0], [1.0, 1.0]])
    image = cloud(np.array([[-1.0, 1.0]]), corners)
    fake, real = shown_at(image, BLUE), shown_at(image, GREY)
    low, high = 0.1 / 1.2, 1.1 / 1.2
    assert len(fake) == 4 and np.abs(fake - [low, high]).max() < 0.01  # x lowest: left; y highest: top
    assert len(real) == 8
    assert np.abs(real.min(axis=0) - low).max() < 0.01 and np.abs(real.max(axis=0) - high).max() < 0.01


def test_cloud_draws_fake_above_real_in_the_frame_of_the_real() -> None:
    real = data.ring().batch(0, 500)[0].numpy()
    assert len(shown_at(cloud(real, real), GREY)) == 0 < len(shown_at(cloud(real, real), BLUE))
    far = real + 100
    assert len(shown_at(cloud(far, real), BLUE)) == 0 < len(shown_at(cloud(far, real), GREY))
    assert len(shown_at(cloud(far), BLUE)) > 0


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("value", [0.0, 1e9, -(2.0**60)])
def test_cloud_draws_points_that_nothing_tells_apart(value: float, d: int) -> None:
    points = value + np.arange(100.0)[:, None].repeat(d, axis=1) * np.spacing(value)
    for some in (points, points[:1]):
        assert len(shown_at(cloud(some), BLUE)) > 0


def test_cloud_names_its_axes_and_its_colours() -> None:
    points = data.ring().batch(0, 50)[0].numpy()
    plain = cloud(points, points)
    assert plain.tobytes() != cloud(points, points, names=("age", "income")).tobytes()
    assert plain.tobytes() != cloud(points, points, fake_name="G").tobytes()
    legend = np.asarray(plain)[:28].reshape(-1, 3)
    assert {GREY, BLUE} <= {tuple(int(v) for v in pixel) for pixel in legend}


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_cloud_takes_any_number_of_coordinates(width: int) -> None:
    fake, real = (torch.randn(300, width, generator=torch.Generator().manual_seed(i)).numpy() for i in (0, 1))
    image = cloud(fake, real)
    assert image.size == (640, 640) and {GREY, BLUE} <= colours(image)
    assert image.tobytes() == cloud(fake.copy(), real.copy()).tobytes()


def test_on_the_line_the_higher_step_is_the_denser() -> None:
    points = np.concatenate([np.full(300, -1.0), np.full(100, 1.0)])[:, None]
    at = shown_at(cloud(points, points), BLUE)
    left, right = (at[(at[:, 0] < 0.5) == side, 1].max() for side in (True, False))
    assert left > 2.5 * right


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_points_that_are_not_finite_are_left_out(bad: float) -> None:
    good = data.ring().batch(0, 50)[0].numpy()
    broken = np.concatenate([good, np.full((3, 2), bad, dtype=good.dtype)])
    assert cloud(broken, good).tobytes() == cloud(good, good).tobytes()
    assert cloud(broken).tobytes() == cloud(good).tobytes()
    assert len(shown_at(cloud(broken[-3:]), BLUE)) == 0
