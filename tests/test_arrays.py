"""Sources are pure functions of (seed, step, n); arrays show each example once an epoch; files may be bad."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from refusals import refused
from zerosum import data
from zerosum.data.idx import read_idx
from zerosum.data.source import Ahead, _permutation
from zerosum.randomness import stream


def bytes_of(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=stream("tests", *shape))


SOURCES: dict[str, Callable[[int], data.Source]] = {
    "ring": lambda seed: data.ring(seed=seed),
    "grid": lambda seed: data.grid(seed=seed),
    "mixture": lambda seed: data.mixture([-1.0, 2.0], std=0.3, weights=[1, 2], seed=seed),
    "gaussian": lambda seed: data.gaussian(dim=3, seed=seed),
    "swiss_roll": lambda seed: data.swiss_roll(seed=seed),
    "two_moons": lambda seed: data.two_moons(seed=seed),
    "images": lambda seed: data.Images(bytes_of(37, 3, 4, 5), seed=seed),
    "labelled_images": lambda seed: data.Images(
        bytes_of(11, 1, 2, 3), torch.arange(11) % 4, 0.0, 1.0, seed=seed
    ),
    "vectors": lambda seed: data.Vectors(bytes_of(29, 4).float(), seed=seed),
    "labelled_vectors": lambda seed: data.Vectors(bytes_of(7, 2).float(), torch.arange(7) % 2, seed=seed),
    "digits": lambda seed: data.digits(seed=seed),
}
ARRAYS = {name: build for name, build in SOURCES.items() if isinstance(build(0), (data.Images, data.Vectors))}
each_source = pytest.mark.parametrize("build", SOURCES.values(), ids=SOURCES.keys())
each_array = pytest.mark.parametrize("build", ARRAYS.values(), ids=ARRAYS.keys())


def same(a: tuple[Tensor, Tensor | None], b: tuple[Tensor, Tensor | None]) -> bool:
    labels = (a[1] is b[1] is None) or (a[1] is not None and b[1] is not None and torch.equal(a[1], b[1]))
    return torch.equal(a[0], b[0]) and labels


# Laws of all sources


@each_source
def test_batch_has_the_declared_form(build: Callable[[int], data.Source]) -> None:
    source = build(0)
    assert isinstance(source, data.Source)
    for n in (1, 6, 100):
        x, y = source.batch(0, n)
        assert x.shape == (n, *source.shape) and x.dtype == torch.float32
        if source.classes == 0:
            assert y is None
        else:
            assert y is not None and y.shape == (n,) and y.dtype == torch.int64
            assert y.min() >= 0 and y.max() < source.classes


@each_source
def test_batch_is_a_pure_function(build: Callable[[int], data.Source]) -> None:
    source, steps, n = build(3), range(12), 10
    once = [source.batch(t, n) for t in steps]
    _permutation.cache_clear()
    torch.rand(1), np.random.default_rng().random()
    again = {t: build(3).batch(t, n) for t in (5, 11, 0, 7, 3, 1, 2, 4, 6, 10, 9, 8)}
    assert all(same(once[t], again[t]) for t in steps)
    once[0][0].zero_()  # what the caller does to a batch stays with the caller
    assert same(source.batch(0, n), again[0])


@each_source
def test_batch_differs_between_steps_and_seeds(build: Callable[[int], data.Source]) -> None:
    source = build(0)
    batches = [source.batch(t, 6)[0] for t in range(4)] + [build(s).batch(0, 6)[0] for s in (1, 2)]
    assert not any(torch.equal(a, b) for i, a in enumerate(batches) for b in batches[:i])


@each_source
def test_batch_leaves_the_global_generator_alone(build: Callable[[int], data.Source]) -> None:
    before = torch.get_rng_state()
    build(0).batch(0, 3)
    assert torch.equal(before, torch.get_rng_state())


@each_source
def test_default_dtype_does_not_matter(build: Callable[[int], data.Source]) -> None:
    expected = build(0).batch(2, 5)
    torch.set_default_dtype(torch.float64)
    try:
        assert same(build(0).batch(2, 5), expected)
    finally:
        torch.set_default_dtype(torch.float32)


# The order of arrays


@pytest.mark.parametrize("length", [1, 2, 7, 60])
@pytest.mark.parametrize("n", [1, 3, 7, 20, 130])
def test_order_visits_each_example_once_per_epoch(length: int, n: int) -> None:
    epochs = 3 + n // length
    steps = -(-length * epochs // n)
    sequence = torch.cat([data.order(length, 5, t, n) for t in range(steps)])
    for epoch in sequence[: length * epochs].reshape(epochs, length):
        assert epoch.sort().values.tolist() == list(range(length))
    if length == 60:
        assert not torch.equal(sequence[:60], sequence[60:120])


def test_order_does_not_depend_on_how_it_is_cut() -> None:
    whole = data.order(17, 0, 0, 120)
    for n in (1, 8, 15, 24, 60):
        assert torch.equal(torch.cat([data.order(17, 0, t, n) for t in range(120 // n)]), whole)


def test_ranks_share_out_the_order() -> None:
    ranks = [data.order(17, 0, 4 * 3 + rank, 5) for rank in range(3)]
    assert torch.equal(torch.cat(ranks), data.order(17, 0, 4, 15))


@each_array
def test_rows_keep_their_labels_and_values(build: Callable[[int], data.Source]) -> None:
    source = build(1)
    assert isinstance(source, (data.Images, data.Vectors))
    rows = data.order(len(source), 1, 4, 9)
    x, y = source.batch(4, 9)
    stored = source.codec.encode(source.values)
    assert torch.equal(x, stored[rows])
    assert y is None if source.labels is None else torch.equal(y, source.labels[rows])


def test_impossible_batches_are_refused() -> None:
    for step, n in ((-1, 2), (0, 0), (0, -3)):
        with refused("0", "1"):
            data.order(5, 0, step, n)


# Bytes and floats


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-0.5, 0.5), (-3.0, 5.0), (0.0, 255.0)])
def test_decode_undoes_encode(low: float, high: float) -> None:
    u = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    images = data.Images(u, low=low, high=high)
    x = images.codec.encode(u)
    assert x.dtype == torch.float32 and x.min() == low and x.max() == high
    torch.testing.assert_close(x.double(), low + (high - low) * u.double() / 255, rtol=1e-6, atol=1e-6)
    quarter = (high - low) / 255 / 4
    for near in (x, x + quarter, x - quarter):
        assert np.array_equal(images.codec.decode(near), u[:, 0]) and torch.equal(images.codec.view(near), u)


def test_decode_clips_and_takes_any_float() -> None:
    images = data.Images(bytes_of(1, 1, 1, 1))
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0], dtype=dtype)
        assert images.codec.decode(x.reshape(5, 1, 1, 1)).flatten().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: data.Images(bytes_of(4, 5, 5)), r"uint8 \[N, C, H, W\].*got uint8 \[4, 5, 5\]"),
        (lambda: data.Images(bytes_of(4, 1, 5, 5).float()), r"got float32 \[4, 1, 5, 5\]"),
        (lambda: data.Images(bytes_of(4, 1, 5, 5)[:0]), "not empty"),
        (lambda: data.Images(bytes_of(4, 1, 5, 5), low=1.0, high=1.0), "low < high"),
        (lambda: data.Images(bytes_of(4, 1, 5, 5), torch.arange(3)), r"labels \[4\].*got int64 \[3\]"),
        (lambda: data.Images(bytes_of(4, 1, 5, 5), torch.arange(4) - 1), "from 0 up"),
        (lambda: data.Images(bytes_of(4, 1, 5, 5), torch.zeros(4)), "int64 labels"),
        (lambda: data.Vectors(torch.zeros(4)), r"float32 \[N, d\].*got float32 \[4\]"),
        (lambda: data.Vectors(torch.zeros(4, 2, dtype=torch.float64)), "got float64"),
        (lambda: data.Vectors(torch.zeros(0, 2)), "not empty"),
        (lambda: data.Vectors(torch.tensor([[0.0], [1.0], [torch.nan]])), "row 2 has a NaN"),
        (lambda: data.Vectors(torch.zeros(3, 2), torch.arange(2)), r"labels \[3\]"),
    ],
)
def test_impossible_arrays_are_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


# Digits


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    digits = data.digits("all")
    assert (len(digits), digits.shape, digits.classes) == (1797, (1, 8, 8), 10)
    assert np.array_equal(digits.pixels.flatten(1).numpy(), np.rint(images * 255 / 16))
    assert digits.labels is not None and np.array_equal(digits.labels.numpy(), labels)


def test_digits_are_split_once_and_fairly() -> None:
    parts = {split: data.digits(split) for split in ("train", "test", "all")}
    assert [len(p) for p in parts.values()] == [1500, 297, 1797]
    train, test, whole = (
        Counter(zip(map(bytes, p.pixels.flatten(1).numpy()), p.labels.tolist(), strict=True))
        for p in parts.values()
    )
    assert train + test == whole
    share = parts["all"].labels.bincount() * 297 / 1797
    assert ((parts["test"].labels.bincount() - share).abs() < 1).all()
    assert torch.equal(data.digits("test", seed=9).pixels, parts["test"].pixels)


def test_digits_refuses_an_unknown_split() -> None:
    with refused():
        data.digits("valid")


# IDX files


def idx(array: Tensor) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.numpy().tobytes()


def write_folder(folder: Path, split: str = "train", sep: str = "-", pack: bool = False) -> Tensor:
    """A folder of two IDX files of six images of 3 x 5 pixels; image i has label i % 3."""
    folder.mkdir(parents=True, exist_ok=True)
    images = bytes_of(6, 3, 5)
    contents = {"images-idx3": images, "labels-idx1": (torch.arange(6) % 3).to(torch.uint8)}
    for stem, array in contents.items():
        name = f"{split}-{stem}-ubyte".replace("-idx", sep + "idx")
        (folder / (name + ".gz" * pack)).write_bytes(gzip.compress(idx(array)) if pack else idx(array))
    return images


@pytest.mark.parametrize("sep", ["-", "."])
@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_idx_folder(tmp_path: Path, split: str, prefix: str, sep: str, pack: bool) -> None:
    images = write_folder(tmp_path, prefix, sep=sep, pack=pack)
    source = data.idx_folder(tmp_path, split, low=0.0, seed=4)
    assert torch.equal(source.pixels, images[:, None]) and source.shape == (1, 3, 5)
    assert source.labels is not None and source.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert (source.classes, source.low, source.high, source.seed, source.split_name) == (
        3,
        0.0,
        1.0,
        4,
        split,
    )


def test_missing_idx_files_are_named(tmp_path: Path) -> None:
    with refused("idx3", by=FileNotFoundError):
        data.idx_folder(tmp_path / "nowhere")
    write_folder(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    unlabelled = data.idx_folder(tmp_path)
    assert unlabelled.labels is None and unlabelled.classes == 0 and unlabelled.batch(0, 2)[1] is None
    (tmp_path / "train-images-idx3-ubyte").unlink()
    with refused("train-images-idx3-ubyte", "train-images.idx3-ubyte.gz", by=FileNotFoundError):
        data.idx_folder(tmp_path)
    with refused():
        data.idx_folder(tmp_path, "all")


GOOD = idx(bytes_of(4, 3, 5))
HUGE = struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3)
DAMAGED = {
    "empty": (b"", "begins with nothing, not 00 00 08 03"),
    "text": (b"<html>Not Found</html>", "begins with 3c 68 74 6d"),
    "floats": (struct.pack(">BBBB3If", 0, 0, 13, 3, 1, 1, 1, 0.5), "begins with 00 00 0d 03"),
    "labels": (idx(bytes_of(9)), "begins with 00 00 08 01, not 00 00 08 03"),
    "short_header": (GOOD[:10], "ends inside its header"),
    "no_data": (GOOD[:16], "4 x 3 x 5 = 60 bytes, but the file has 0 bytes"),
    "truncated": (GOOD[:-1], "60 bytes, but the file has 59 bytes"),
    "trailing": (GOOD + b"\0", "60 bytes, but the file has more"),
    "no_images": (struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 28, 28), "0 x 28 x 28 = 0 bytes"),
    "no_pixels": (struct.pack(">BBBB3I", 0, 0, 8, 3, 5, 0, 28), "5 x 0 x 28 = 0 bytes"),
    "huge": (HUGE + b"\0" * 99, "but the file has 99 bytes"),
    "packed_huge": (gzip.compress(HUGE + b"\0" * 99), "but the file has 99 bytes"),
    "packed_trailing": (gzip.compress(GOOD + b"\0"), "has more"),
    "packed_truncated": (gzip.compress(GOOD)[:-9], "ended before the end-of-stream"),
    "packed_only_header": (gzip.compress(GOOD)[:2], "end-of-stream"),
    "packed_wrong_sum": (gzip.compress(GOOD)[:-8] + b"\0" * 4 + gzip.compress(GOOD)[-4:], "CRC check failed"),
    "packed_wrong_bits": (gzip.compress(GOOD)[:10] + b"\xff" * 20, "invalid"),
    "packed_garbage_after": (gzip.compress(GOOD) + b"garbage", "Not a gzipped file"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_idx_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as error:
            read_idx(path, dimensions=3)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20  # the header asks for up to 2^96 bytes
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_images_without_their_labels_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(bytes_of(5)))
    with refused("images-idx3-ubyte", 6, "labels-idx1-ubyte", 5):
        data.idx_folder(tmp_path)


@pytest.mark.parametrize(("build", "name"), [(data.mnist, "mnist"), (data.fashion_mnist, "fashion-mnist")])
def test_zerosum_data_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build, name: str) -> None:
    images = write_folder(tmp_path / name)
    monkeypatch.setenv("ZEROSUM_DATA", str(tmp_path))
    assert torch.equal(build().pixels[:, 0], images)


@pytest.mark.skipif("ZEROSUM_DATA" not in os.environ, reason="ZEROSUM_DATA is not set")
def test_mnist() -> None:
    train, test = data.mnist(low=0.0), data.mnist("test", low=0.0)
    assert (len(train), len(test), train.shape, train.classes) == (60_000, 10_000, (1, 28, 28), 10)
    pixels = train.pixels.double() / 255
    # The mean and deviation that everybody normalises MNIST by.
    assert (round(pixels.mean().item(), 4), round(pixels.std().item(), 4)) == (0.1307, 0.3081)
    x, y = train.batch(0, 60_000)
    assert y is not None and torch.equal(y.bincount(), train.labels.bincount())
    assert torch.isclose(x.double().mean(), pixels.mean(), atol=1e-9)


def test_fit_and_valid_are_the_two_parts_of_train(tmp_path: Path) -> None:
    write_folder(tmp_path)
    whole, fit = data.idx_folder(tmp_path), data.idx_folder(tmp_path, "fit")
    assert torch.equal(whole.pixels, fit.pixels)  # fewer than 50,000: all of them
    with refused():
        data.idx_folder(tmp_path, "valid")


def test_a_batch_made_ahead_is_the_source_s_own() -> None:
    asked: list[int] = []

    class Counted(data.Vectors):
        def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
            asked.append(step)
            return super().batch(step, n)

    source = Counted(torch.arange(30.0).reshape(15, 2), torch.arange(15))
    ahead = Ahead(source)
    for step in (0, 1, 2, 7, 8, 3):
        x, y = ahead.batch(step, 4)
        wanted, labels = data.Vectors.batch(source, step, 4)
        assert torch.equal(x, wanted) and y is not None and labels is not None and torch.equal(y, labels)
    ahead._beside.shutdown()
    assert sorted(asked) == sorted([0, 1, 2, 3, 7, 8, 9, 3, 4]), "each once, but for what was begun in vain"


def test_an_error_of_a_batch_made_ahead_comes_when_it_is_asked_for() -> None:
    class Ends(data.Vectors):
        def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
            if step == 2:
                raise OSError("the disk has gone")
            return super().batch(step, n)

    ahead = Ahead(Ends(torch.ones(4, 1)))
    ahead.batch(0, 2)
    ahead.batch(1, 2)
    with refused(by=OSError):
        ahead.batch(2, 2)
