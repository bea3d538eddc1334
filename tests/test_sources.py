"""Whatever holds examples is a source, and every source declares what it is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from cases import cases
from refusals import refused
from zerosum import Game, data, objectives
from zerosum.data import codec as codecs
from zerosum.data.arrays import named

X = torch.arange(60, dtype=torch.float32).reshape(12, 5) / 7
BYTES = torch.arange(12 * 3 * 4 * 5).remainder(251).to(torch.uint8).reshape(12, 3, 4, 5)
Y = [3, 1, 2] * 4


class Pairs(Dataset):
    """12 items (example, y), made when they are asked for."""

    def __init__(self, example: Callable[[int], Any], y: Callable[[int], Any] | None = None, **about: Any):
        self.example, self.y = example, y
        self.__dict__.update(about)

    def __len__(self) -> int:
        return 12

    def __getitem__(self, i: int) -> Any:
        return self.example(i) if self.y is None else (self.example(i), self.y(i))


class Least:
    """The least that a source of one's own has."""

    shape = (5,)

    def batch(self, step: int, n: int) -> tuple[Tensor, None]:
        return torch.full((n, 5), float(step)), None


def picture(i: int) -> Image.Image:
    return Image.fromarray(BYTES[i].permute(1, 2, 0).numpy())


SOURCES: dict[str, Callable[[], Any]] = {
    "tensor": lambda: data.source(X),
    "list": lambda: data.source(X.tolist()),
    "float64": lambda: data.source(X.double().numpy(), Y),
    "bytes": lambda: data.source(BYTES, Y),
    "channels_last": lambda: data.source(BYTES.permute(0, 2, 3, 1).numpy()),
    "signals": lambda: data.source(torch.randn(12, 2, 30)),
    "float_images": lambda: data.source(torch.rand(12, 3, 8, 8)),
    "names": lambda: data.source(X, ["b", "a", "c"] * 4),
    "tensor_dataset": lambda: data.source(TensorDataset(X, torch.tensor(Y))),
    "no_labels": lambda: data.source(TensorDataset(X)),
    "loader": lambda: data.source(DataLoader(TensorDataset(X, torch.tensor(Y)), batch_size=5, shuffle=True)),
    "pictures": lambda: data.source(Pairs(picture, lambda i: Y[i])),
    "least": lambda: data.source(Least()),
    "ring": lambda: data.ring(),
    "moons": lambda: data.two_moons(),
    "digits": lambda: data.digits(),
    "stacked": lambda: data.Stacked(data.digits()),
    "stacked_names": lambda: data.Stacked(
        data.Images(BYTES[:, :1], torch.arange(12), class_names=tuple(map(str, range(12))))
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_declares_all_of_itself(name: str) -> None:
    source = SOURCES[name]()
    assert isinstance(source, data.Source) and data.source(source) is source
    x, y = source.batch(2, 7)
    assert x.shape == (7, *source.shape) and x.dtype == torch.float32 and source.codec.shape == source.shape
    restored = codecs.restore(source.codec.state_dict())
    assert np.array_equal(restored.decode(x), source.codec.decode(x))
    assert len(source.class_names) == len(source.class_shares) == source.classes == len({*source.class_names})
    assert source.classes == 0 or math.isclose(sum(source.class_shares), 1, rel_tol=1e-5)
    assert source.classes == 0 or (y is not None and y.min() >= 0 and y.max() < source.classes)
    assert source.fingerprint or not hasattr(source, "__len__"), "finite data are told apart"
    again = SOURCES[name]()
    if name not in ("signals", "float_images"):  # drawn anew
        assert again.fingerprint == source.fingerprint and torch.equal(again.batch(2, 7)[0], x)
    for split in source.splits:
        part = source.split(split)
        assert part.splits == source.splits and part.class_names == source.class_names
        assert part.codec == source.codec and part.batch(0, 3)[0].shape == (3, *source.shape)
    with refused():
        source.split("nowhere")


@pytest.mark.parametrize("name", ["tensor_dataset", "loader", "pictures", "float64", "bytes"])
def test_labels_keep_the_numbers_of_the_data(name: str) -> None:
    source = SOURCES[name]()
    assert source.class_names == ("1", "2", "3")
    x, y = source.batch(0, 12)
    stored = BYTES if isinstance(source.codec, data.Pixels) else X
    rows = [int((source.codec.encode(stored) == one).flatten(1).all(1).nonzero()) for one in x]
    assert [int(source.class_names[k]) for k in y] == [Y[i] for i in rows], "and their examples"


@pytest.mark.parametrize("name", ["tensor", "loader", "pictures", "least"])
def test_a_game_takes_all_of_these(name: str) -> None:
    holder = {
        "tensor": X,
        "loader": DataLoader(TensorDataset(X)),
        "least": Least(),
        "pictures": Pairs(picture),
    }
    numbers = 60 if name == "pictures" else 5
    shape = (3, 4, 5) if name == "pictures" else (5,)
    G = nn.Sequential(nn.Linear(2, numbers), nn.Unflatten(1, shape))
    D = nn.Sequential(nn.Flatten(), nn.Linear(numbers, 1), nn.Flatten(0))
    game = Game(G, D, objectives.hinge(), latent=2, batch=4)
    assert [turn.step for turn in game.play(holder[name], steps=3)] == [0, 1, 2]


@pytest.mark.parametrize("given_", [16, 15, 1, 0, 17])
@pytest.mark.parametrize("shape", [(5,), (4,), (5, 1)])
def test_a_source_that_gives_what_it_did_not_declare_is_refused(given_: int, shape: tuple[int, ...]) -> None:
    class Mine(Least):
        def batch(self, step: int, n: int) -> tuple[Tensor, None]:
            return torch.zeros(n if step < 2 else given_, *shape), None

    source = data.source(Mine())
    if (given_, shape) == (16, (5,)):
        assert source.batch(2, 16)[0].shape == (16, 5)
        return
    with refused():
        for step in range(3):
            source.batch(step, 16)


def test_a_dataset_with_random_transforms_is_a_pure_function_and_leaves_the_generators() -> None:
    def noisy(i: int) -> Tensor:
        return X[i] + torch.rand(5) + random.random() + np.random.rand()  # noqa: NPY002

    source, again = (data.source(Pairs(noisy)) for _ in range(2))
    torch.manual_seed(0)
    state = torch.get_rng_state(), random.getstate()
    x = source.batch(4, 6)[0]
    assert torch.equal(state[0], torch.get_rng_state()) and state[1] == random.getstate()
    torch.rand(3)
    assert torch.equal(again.batch(4, 6)[0], x) and not torch.equal(source.batch(6, 6)[0], x)


def test_conditions_of_a_dataset_may_be_tensors() -> None:
    source = data.source(Pairs(lambda i: X[i], lambda i: X[i] * 2))
    x, y = source.batch(0, 5)
    assert source.classes == 0 and torch.equal(y, x * 2)


def test_the_names_of_a_datasets_classes() -> None:
    source = data.source(
        Pairs(lambda i: X[i], lambda i: Y[i] - 1, classes=["cat", "dog", "emu"], targets=[*Y])
    )
    assert source.class_names == ("cat", "dog", "emu") and source.class_shares == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    "thing",
    [5, None, {"a": 1}, "x.csv", object(), lambda: 0, b"bytes", {1, 2}],
    ids=lambda x: type(x).__name__,
)
def test_what_holds_no_examples_is_refused(thing: Any) -> None:
    with refused(by=TypeError):
        data.source(thing)


@pytest.mark.parametrize("dataset", [[], Pairs(lambda i: X[i, : 1 + i % 2]), Pairs(lambda i: "text")])
def test_items_that_are_no_examples_are_refused(dataset: Any) -> None:
    with pytest.raises(ValueError):
        data.source(dataset).batch(0, 12)


@given(
    arrays(
        some.sampled_from([np.uint8, np.float32, np.int64, np.bool_]), array_shapes(min_dims=1, max_dims=4)
    )
)
@cases(100)
def test_any_array_comes_back(x: np.ndarray) -> None:
    """Bytes are pixels in three and four dimensions only; everything else is numbers as they are."""
    if x.dtype == np.float32 and not np.isfinite(x).all():
        with pytest.raises(ValueError):
            data.source(x)
        return
    source = data.source(x)
    images = x.dtype == np.uint8 and x.ndim > 2
    assert isinstance(source.codec, data.Pixels if images else data.Numbers)
    rows = torch.arange(len(x))
    back = source.codec.decode(source.at(rows)[0])
    if images and x.ndim == 4:
        first = x.shape[1] <= x.shape[3]
        back = back[..., None] if back.ndim == 3 else back
        back = back.transpose(0, 3, 1, 2) if first else back
    assert np.array_equal(back.reshape(x.shape), x.astype(np.float32) if not images else x)


@given(
    some.lists(some.one_of(some.integers(-5, 99)), min_size=1) | some.lists(some.text(max_size=3), min_size=1)
)
@cases(100)
def test_any_labels_keep_their_values(labels: list[Any]) -> None:
    codes, names = named(labels)
    shown = [str(label).rstrip("\0") for label in labels]  # numpy's texts end without zeros
    assert [names[code] for code in codes] == shown
    assert sorted(set(codes.tolist())) == list(range(len(names)))


@pytest.mark.parametrize("change", ["value", "order", "label", "row", "dtype"])
def test_fingerprints_tell_data_apart(change: str) -> None:
    x, y = X.clone(), list(Y)
    if change == "value":
        x[3, 2] += 1e-3
    elif change == "order":
        x[[0, 1]], y[0], y[1] = x[[1, 0]], y[1], y[0]
    elif change == "label":
        y[0] = 2
    elif change == "row":
        x, y = x[:-1], y[:-1]
    other = data.source((x * 10).to(torch.uint8) if change == "dtype" else x, y)
    assert other.fingerprint != data.source(X, Y).fingerprint == data.source(X.clone(), Y).fingerprint


@pytest.mark.parametrize("first", [0, 1, 7])
def test_idx_labels_keep_their_numbers(first: int, tmp_path: Path) -> None:
    for part, n in (("train", 9), ("t10k", 3)):
        for stem, array in (
            ("images-idx3", np.zeros((n, 2, 2), np.uint8)),
            ("labels-idx1", (np.arange(n) % 3 + first).astype(np.uint8)),
        ):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(d.to_bytes(4, "big") for d in array.shape)
            (tmp_path / f"{part}-{stem}-ubyte").write_bytes(head + array.tobytes())
    source = data.idx_folder(tmp_path)
    assert source.class_names == tuple(str(first + k) for k in range(3)) and source.splits == (
        "train",
        "test",
    )
    test = source.split("test")
    assert len(test) == 3 and test.labels is not None and test.labels.tolist() == [0, 1, 2]
