"""Sampling: the laws of what is drawn, and files that hold what was asked for, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageSequence
from scipy.stats import kstest, truncnorm
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

import zerosum
from zerosum import cli, data, objectives, sampling
from zerosum.cli import sample as verb
from zerosum.game import Game, normal, uniform
from zerosum.pictures import beside, columns_for
from zerosum.randomness import stream
from zerosum.recipe import Recipe
from zerosum.run.run import Run
from zerosum.sampling import Sampler, lerp, nearest, slerp, truncated

SMALL = {"name": "mlp", "width": 8, "depth": 1}
TINY = {"latent": 6, "G": SMALL, "D": SMALL, "batch": 8, "steps": 5, "threads": 1}
MINE = """
import torch
from torch import nn
from zerosum import data

class Memory(nn.Module):
    '''A generator that has learnt by heart: z chooses a training image.'''
    def __init__(self, inputs, outputs):
        super().__init__()
        self.register_buffer("images", data.digits().batch(0, 1500)[0])
        self.shift = nn.Parameter(torch.zeros(()))
    def forward(self, z):
        return self.images[(z[:, 0].abs() * 1e4).long() % 1500] + 0 * self.shift

class Points:
    classes, shape = 0, (2,)
    def __init__(self, seed): pass
    def batch(self, step, n): return data.ring().batch(step, n)

def heavy(shape, generator, dtype): return torch.randn(*shape, generator=generator, dtype=dtype) ** 3
"""
RUNS: dict[str, dict[str, Any]] = {
    "digits": {
        "data": "digits",
        "G": {**SMALL, "output": "Tanh"},
        "g_optimizer": {"name": "adam", "lr": 0.05},
    },
    "ring": {"data": "ring"},
    "uniform": {"data": "digits", "G": {**SMALL, "output": "Tanh"}, "prior": "uniform"},
    "classes": {
        "data": "digits",
        "G": {**SMALL, "output": "Tanh"},
        "conditional": True,
        "g_optimizer": {"name": "adam", "lr": 0.05},
    },
    "memory": {"data": "digits", "G": "mine:Memory"},
    "foreign": {"data": "mine:Points", "prior": "mine:heavy"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    before = Path.cwd()
    os.chdir(folder)
    sys.modules.pop("mine", None)
    Path("mine.py").write_text(MINE)
    for name, changes in RUNS.items():
        Path(f"{name}.yaml").write_text(yaml.safe_dump(TINY | changes))
        assert cli.main(["train", f"{name}.yaml", "--out", name, "--quiet"]) == 0
    os.chdir(before)
    return folder


@pytest.fixture
def here(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of this test's own, where the runs stand too."""
    monkeypatch.chdir(tmp_path)
    for name in (*RUNS, "mine.py"):
        (tmp_path / name).symlink_to(runs / name)
    return tmp_path


def sample(command: str) -> int:
    return cli.main(["sample", *shlex.split(command)])


def error_of(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = sample(command)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("zerosum: ") and err.count("\n") == 1 and err.endswith("\n")
    return code, err


def picture(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def cells(sheet: np.ndarray, height: int, width: int, zoom: int) -> np.ndarray:
    """The images of a sheet, ``[rows, columns, height, width]``, each pixel read once."""
    gap = max(1, zoom // 2)
    rows, columns = ((side - gap) // (n * zoom + gap) for side, n in zip(sheet.shape, (height, width)))  # noqa: B905
    out = np.zeros((rows, columns, height, width), dtype=sheet.dtype)
    for i in range(rows):
        for j in range(columns):
            top, left = gap + i * (height * zoom + gap), gap + j * (width * zoom + gap)
            out[i, j] = sheet[top : top + height * zoom : zoom, left : left + width * zoom : zoom]
    return out


class Asked(nn.Module):
    """G(z, y): an image whose first pixel tells its class, and whose others are those of z."""

    def __init__(self, side: int = 4) -> None:
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.linspace(-0.5, 0.5, 6 * side * side).reshape(6, -1))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        x = torch.tanh(z @ self.weight)
        x = torch.cat([(y / 2 - 1).to(x)[:, None], x[:, 1:]], dim=1)
        return x.reshape(-1, 1, self.side, self.side)


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.LazyLinear(1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.linear(x.flatten(1))[:, 0]


def conditional(classes: int = 4) -> Run:
    """A conditional run that needs no disk."""
    D = Judge()
    D(torch.zeros(1, 1, 4, 4), torch.zeros(1))
    game = Game(Asked(), D, objectives.nonsaturating(), latent=6, classes=classes)
    return Run(Path("asked"), Recipe(), game, {"shape": [1, 4, 4], "range": [-1.0, 1.0]})


def classes_of(images: np.ndarray) -> np.ndarray:
    """What `Asked` was asked for."""
    return np.round((images[..., 0, 0] / 255 * 2 - 1 + 1) * 2).astype(int)


# the prior ------------------------------------------------------------------------------------------------

PSI = [0.05, 0.5, 1.0, 2.0, 3.5]


@pytest.mark.parametrize("psi", PSI)
def test_truncation_has_the_law_of_the_prior_within_the_bound(psi: float) -> None:
    z = normal((20_000,), stream("truncation"))
    moved = truncated(z, psi)
    assert moved.dtype == z.dtype and moved.abs().max() <= psi * (1 + 1e-6)
    assert kstest(moved.numpy(), truncnorm(-psi, psi).cdf).pvalue > 0.01
    order = z.argsort()
    assert (moved[order].diff() >= 0).all() and (moved.sign() == z.sign()).all(), "increasing, through 0"
    assert (moved.abs() <= z.abs()).all()


@pytest.mark.parametrize("psi", PSI)
def test_truncation_of_the_uniform_prior_is_a_scaling(psi: float) -> None:
    z = uniform((20_000,), stream("truncation"))
    moved = truncated(z, psi, uniform)
    bound = min(psi, 3**0.5)
    assert moved.abs().max() <= bound * (1 + 1e-6)
    assert kstest(moved.numpy() / bound, "uniform", args=(-1, 2)).pvalue > 0.01


@pytest.mark.parametrize("prior", [normal, uniform])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_psi_changes_nothing(prior: Any, dtype: torch.dtype) -> None:
    z = torch.cat([prior((10_000,), stream("large"), dtype), torch.tensor([0.0, 1.7, -1.7], dtype=dtype)])
    far = torch.tensor([6.0, -9.0, 30.0], dtype=dtype) if prior is normal else z[:0]
    z = torch.cat([z, far])
    assert torch.allclose(truncated(z, 100.0, prior), z, rtol=1e-6, atol=0)


SHAPES = [(1,), (2,), (64,), (3, 4, 5)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("between", [slerp, lerp])
def test_paths_begin_and_end_at_their_points_exactly(between: Any, shape: tuple[int, ...]) -> None:
    a, b = (normal((7, *shape), stream("path", i)) for i in range(2))
    z = between(a, b, torch.linspace(0, 1, 5, dtype=torch.float64))
    assert z.shape == (7, 5, *shape) and z.dtype == a.dtype
    assert torch.equal(z[:, 0], a) and torch.equal(z[:, -1], b)


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_slerp_turns_by_equal_angles_and_its_norm_is_a_line(shape: tuple[int, ...]) -> None:
    a, b = (normal((50, *shape), stream("slerp", i), torch.float64) for i in range(2))
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    z = slerp(a, b, t).flatten(2)
    norms = [x.flatten(1).norm(dim=1)[:, None] for x in (a, b)]
    assert torch.allclose(z.norm(dim=2), (1 - t) * norms[0] + t * norms[1], rtol=1e-12)
    steps = torch.cosine_similarity(z[:, 1:], z[:, :-1], dim=2).acos()
    whole = torch.cosine_similarity(a.flatten(1), b.flatten(1)).acos()[:, None]
    assert torch.allclose(steps, whole / 10, atol=1e-6)
    planes = torch.stack([a.flatten(1), b.flatten(1), z[:, 3]], dim=1)
    assert (torch.linalg.svdvals(planes)[:, 2:] < 1e-12).all(), "it stays in the plane of both"


@pytest.mark.parametrize("factor", [1.0, 2.5, -1.0, -0.5])
def test_slerp_of_parallel_and_opposite_points_is_the_line(factor: float) -> None:
    a = normal((20, 8), stream("parallel"))
    t = torch.linspace(0, 1, 7, dtype=torch.float64)
    assert torch.allclose(slerp(a, factor * a, t), lerp(a, factor * a, t), atol=1e-5)


# samples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [1, 7, 256, 1024])
@pytest.mark.parametrize("n", [1, 5, 300])
def test_a_sample_follows_from_its_seed_and_number(
    n: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = Sampler(conditional(), seed=3, classes=(2, 0, 3), truncation=1.5)
    xs, ys = (torch.cat(t) for t in zip(*sampler.parts(300), strict=True))
    zs = sampler.noise(300)
    monkeypatch.setattr(sampling, "_PART", part)
    parts = list(sampler.parts(n))
    assert [len(x) for x, _ in parts] == [min(part, n - i) for i in range(0, n, part)]
    assert torch.equal(torch.cat([sampler.noise(len(x), i * part) for i, (x, _) in enumerate(parts)]), zs[:n])
    assert torch.equal(torch.cat([y for _, y in parts]), ys[:n])
    assert torch.allclose(torch.cat([x for x, _ in parts]), xs[:n], atol=1e-6)


def test_large_images_are_made_in_smaller_parts() -> None:
    for side in (4, 64, 256, 4096):
        run = conditional()
        run.facts["shape"] = [3, side, side]
        part = Sampler(run).part
        assert 1 <= part <= 1024 and part * 3 * side * side <= max(2**20, 3 * side * side)


@pytest.mark.parametrize("classes", [(), (3,), (3, 1), (2, 2, 0)], ids=str)
def test_classes_come_in_turn_and_columns_are_classes(
    classes: tuple[int, ...], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "open", lambda path, step: conditional())
    wanted = classes or (0, 1, 2, 3)
    option = f"--class {','.join(map(str, classes))}" if classes else ""
    assert sample(f"asked --n 50 --out x.npz --quiet {option}") == 0
    arrays = np.load("x.npz")
    assert arrays.files == ["samples", "labels"] and arrays["labels"].dtype == np.int64
    assert arrays["labels"].tolist() == [wanted[i % len(wanted)] for i in range(50)]
    assert np.array_equal(classes_of(arrays["samples"]), arrays["labels"])
    assert sample(f"asked --out x.png --quiet {option}") == 0
    sheet = cells(picture("x.png"), 4, 4, 8)
    assert sheet.shape[0] * sheet.shape[1] >= 64 and sheet.shape[1] < 2 * sheet.shape[0] + len(wanted)
    found = classes_of(sheet)
    assert (found == found[0]).all() and set(found[0]) == set(wanted), "a column is of one class"
    assert sample(f"asked --out x.png --grid 3x5 --quiet {option}") == 0
    found = classes_of(cells(picture("x.png"), 4, 4, 8))
    assert found.shape == (3, 5) and found.ravel().tolist() == [wanted[i % len(wanted)] for i in range(15)]


def test_a_trained_conditional_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same noise, another class: another image; all ten in turn unless some are named."""
    assert sample("classes --n 20 --out x.npz") == 0
    assert capsys.readouterr().out == "20 samples of step 5: x.npz\n"
    arrays = np.load("x.npz")
    assert arrays["labels"].tolist() == [*range(10)] * 2 and arrays["samples"].dtype == np.uint8
    only = {}
    for label in (3, 4):
        assert sample(f"classes --n 20 --class {label} --out {label}.npy --quiet") == 0
        only[label] = np.load(f"{label}.npy").astype(int)
        assert np.abs(only[label][label::10] - arrays["samples"][label::10]).max() <= 1
    assert np.abs(only[3] - only[4]).max() > 1
    assert sample("classes --out x.png") == 0
    assert capsys.readouterr().out == "70 samples of step 5: x.png\n"
    assert cells(picture("x.png"), 8, 8, 4).shape[:2] == (7, 10)
    assert sample("classes --nearest 1 --class 3 --n 4 --out x.png --quiet") == 0
    assert error_of("classes --class 10", capsys)[1].endswith("the classes of classes are 0 to 9\n")


@pytest.mark.parametrize("form", ["npy", "npz", "csv", "png"])
def test_every_form_holds_the_same_samples(form: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "ring" if form == "csv" else "digits"
    assert sample(f"{name} --n 1500 --seed 2 --out whole.npy --quiet") == 0
    whole = np.load("whole.npy")
    assert sample(f"{name} --n 35 --seed 2 --out x.{form}") == 0
    assert capsys.readouterr().out == f"35 samples of step 5: x.{form}\n"
    if form == "csv":
        header, *rows = csv.reader(Path("x.csv").read_text().splitlines())
        assert header == ["x0", "x1"]
        x = np.array(rows, dtype=np.float32)
    elif form == "png":
        x = cells(picture("x.png"), 8, 8, 4).reshape(-1, 8, 8)
        assert not x[35:].any(), "what is left of the grid is black"
        x = x[:35]
    else:
        loaded = np.load(f"x.{form}")
        x = loaded if form == "npy" else loaded["samples"]
        assert form == "npy" or loaded.files == ["samples"]
    assert x.shape == whole[:35].shape
    assert np.abs(x.astype(float) - whole[:35]).max() <= (1e-6 if form == "csv" else 1)
    assert not list(here.glob(".*"))


def test_a_table_has_the_names_of_its_columns(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    game = Game(nn.Linear(2, 2), nn.Linear(2, 1), objectives.hinge(), latent=2)
    run = Run(
        Path("t"),
        Recipe(),
        game,
        {
            "shape": [2],
            "range": [0, 1],
            "columns": ["age, years", 'the "b"'],
            "mean": [0, 0],
            "scale": [1, 1],
        },
    )
    monkeypatch.setattr(Run, "open", lambda path, step: run)
    assert sample("t --n 3000 --out x.csv --quiet") == 0 and sample("t --n 3000 --out x.npy --quiet") == 0
    header, *rows = csv.reader(Path("x.csv").read_text().splitlines())
    assert header == ["age, years", 'the "b"']
    assert np.array_equal(np.array(rows, dtype=np.float32), np.load("x.npy"))


def test_options_change_what_is_drawn(here: Path) -> None:
    found = {}
    for options in ("", "--ema", "--live", "--seed 1", "--truncation 0.5", "--truncation 9", "--step 5"):
        assert sample(f"digits --n 40 --out x.npy --quiet {options}") == 0
        found[options] = np.load("x.npy").astype(int)
    same = {o for o, x in found.items() if np.abs(x - found[""]).max() <= 1}
    assert same == {"", "--ema", "--truncation 9", "--step 5"}
    spread = {o: x.std(axis=0).mean() for o, x in found.items()}
    assert spread["--truncation 0.5"] < 0.8 * spread[""]


# on the way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "uniform"])
def test_a_strip_goes_from_sample_to_sample_and_back(name: str, here: Path) -> None:
    assert sample(f"{name} --n 4 --seed 5 --out x.npy --quiet") == 0
    x = np.load("x.npy")
    assert sample(f"{name} --interpolate 4 --frames 7 --seed 5 --out x.png --quiet") == 0
    strip = cells(picture("x.png"), 8, 8, 4)
    assert strip.shape[:2] == (4, 7)
    assert np.array_equal(strip[:, 0], x) and np.array_equal(strip[:, -1], np.roll(x, -1, axis=0))
    game = Run.open(Path(name)).game
    z = game.noise(4, 5)
    middle = (slerp if name == "digits" else lerp)(z, z.roll(-1, 0), torch.tensor([0.5]))[:, 0]
    wanted = data.digits().codec.decode(game.generate(middle))
    assert np.abs(strip[:, 3].astype(int) - wanted).max() <= 1
    assert sample(f"{name} --interpolate 4 --quiet") == 0
    assert cells(picture("samples.png"), 8, 8, 4).shape[:2] == (4, 10)


def frames_of(path: str) -> np.ndarray:
    """The images of a film of one digit."""
    with Image.open(path) as film:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(film)]
    return np.stack([cells(frame, 8, 8, 16)[0, 0] for frame in frames])


def jump(frames: np.ndarray) -> float:
    """The largest mean change of a pixel, from a frame to the next and from the last to the first."""
    return float(np.abs(frames - np.roll(frames.astype(int), -1, axis=0)).mean(axis=(1, 2)).max())


def test_a_film_begins_again_where_it_ends(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample("digits --n 3 --out x.npy --quiet") == 0
    assert sample("digits --interpolate 3 --frames 6 --out x.gif") == 0
    assert capsys.readouterr().out == "a film through 3 samples of step 5: x.gif\n"
    with Image.open("x.gif") as film:
        assert film.info["loop"] == 0 and film.info["duration"] == 40 and film.n_frames == 18
    frames = frames_of("x.gif")
    assert np.array_equal(frames[::6], np.load("x.npy"))
    assert sample("digits --interpolate 3 --frames 24 --out finer.gif --quiet") == 0
    jumps, finer = (jump(frames), jump(frames_of("finer.gif")))
    assert 0 < finer < jumps / 2, "no jump, not at the seam either"


def test_every_class_takes_the_same_way(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "open", lambda path, step: conditional())
    assert sample("asked --interpolate 3 --frames 5 --class 1,3 --out x.png --quiet") == 0
    strip = cells(picture("x.png"), 4, 4, 8).reshape(3, 2, 5, 16)
    assert (classes_of(strip.reshape(3, 2, 5, 4, 4)) == np.array([1, 3])[:, None]).all()
    assert np.array_equal(strip[:, 0, :, 1:], strip[:, 1, :, 1:])
    assert sample("asked --interpolate 3 --frames 5 --out x.gif --quiet") == 0
    with Image.open("x.gif") as film:
        assert set(classes_of(cells(np.asarray(film.convert("L")), 4, 4, 32)).ravel()) == {0, 1, 2, 3}


def test_a_path_of_points_lies_over_samples(here: Path) -> None:
    assert sample("ring --interpolate 5 --frames 40 --out x.png --quiet") == 0
    colours = {tuple(c) for c in picture("x.png").reshape(-1, 3).tolist()}
    assert colours == {(255, 255, 255), (190, 190, 190), (0, 90, 181)}


def test_an_mp4_is_given_every_frame_in_even_sizes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyAV itself is no dependency: its part is played by what remembers what it was given."""
    seen: list[Any] = []

    class Stream(SimpleNamespace):
        def encode(self, frame: Any = "flush") -> Any:
            return frame

    class Film:
        def __init__(self, file: Any, mode: str, format: str) -> None:
            self.file, self.stream = file, Stream()
            assert (mode, format) == ("w", "mp4")

        def add_stream(self, codec: str, rate: int, options: dict[str, str]) -> Stream:
            assert (codec, rate) == ("libx264", 25)
            return self.stream

        def mux(self, frame: Any) -> None:
            seen.append(frame)
            self.file.write(b".")

        def __enter__(self) -> Film:
            return self

        def __exit__(self, *error: object) -> None:
            pass

    frame = SimpleNamespace(from_image=lambda image: image)
    monkeypatch.setitem(sys.modules, "av", SimpleNamespace(open=Film, VideoFrame=frame, __spec__=True))  # pyright: ignore
    assert sample("digits --interpolate 2 --frames 3 --out x.mp4 --quiet") == 0
    assert seen[-1] == "flush" and len(seen) == 7 and Path("x.mp4").read_bytes() == b"......."
    assert all(image.mode == "RGB" and image.width % 2 == image.height % 2 == 0 for image in seen[:-1])


# beside the training data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("rows", [1, 10, 10_000])
@pytest.mark.parametrize("kind", ["points", "images"])
def test_nearest_is_what_scikit_learn_finds(kind: str, rows: int, k: int) -> None:
    if kind == "points":
        x, train = (normal((m, 5), stream("nearest", m)) for m in (20, 45))
    else:
        x, train = data.digits("test").pixels[:20], data.digits().pixels[:45]
    distances, found = nearest(x, iter(train.split(rows)), k)
    flat = [t.flatten(1).double().numpy() for t in (x, train)]
    wanted, numbers = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(flat[1]).kneighbors(flat[0])
    assert np.allclose(distances, wanted / flat[0].shape[1] ** 0.5, rtol=1e-5)
    assert torch.equal(found, train[torch.from_numpy(numbers)]) and found.dtype == train.dtype


@pytest.mark.parametrize("rows", [7, 10_000])
def test_an_image_is_as_near_as_the_nearer_of_itself_and_its_mirror_image(rows: int) -> None:
    x, train = data.digits("test").pixels[:20], data.digits().pixels[:45]
    x = torch.cat([x, train[:3].flip(3)])  # copies, but mirrored
    distances, found = nearest(x, train.split(rows), 2, mirrored=True)
    flat, mirror, made = (t.flatten(1).double().numpy() for t in (train, train.flip(3), x))
    every = np.minimum(*(((made[:, None] - other) ** 2).mean(2) ** 0.5 for other in (flat, mirror)))
    assert np.allclose(distances, np.sort(every, axis=1)[:, :2], rtol=1e-5)
    assert torch.equal(found[:, 0], train[torch.from_numpy(every.argmin(1))]), "shown as it is in the data"
    assert distances[20:, 0].tolist() == [0, 0, 0] and (nearest(x, [train], 1)[0][20:] > 0).all()


def test_where_the_players_see_mirror_images_a_mirrored_copy_is_one(runs: Path) -> None:
    sees = {"name": "augmented", "network": SMALL, "augment": {"name": "diffaugment", "flip": True}}
    run = Run.open(runs / "memory")
    wholes = [
        run.recipe,
        replace(run.recipe, D=sees),
        replace(run.recipe, D={**sees, "augment": "diffaugment"}),
    ]
    assert [sampling.mirrors(recipe) for recipe in wholes] == [False, True, False]
    assert sampling.mirrors(replace(run.recipe, data={"name": "image_folder", "path": "x", "flip": True}))
    generate = run.game.generate
    run.game.generate = lambda *given: generate(*given).flip(3)  # pyright: ignore[reportAttributeAccessIssue]
    plain = Sampler(run).neighbours(12, 1)
    run.recipe = wholes[1]
    mirrored = Sampler(run).neighbours(12, 1)
    assert "exact copies: 0" in plain.line() and mirrored.line().endswith("exact copies, mirrored or not: 12")
    assert torch.equal(mirrored.found[:, 0].flip(3), mirrored.samples)


def test_what_was_learnt_by_heart_is_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample("memory --nearest 2 --n 12 --out x.png") == 0
    said, line = capsys.readouterr().out.splitlines()
    assert said == "12 samples, each left of its nearest training examples, of step 5: x.png"
    assert "median: 0 of samples, " in line and line.endswith("(297), in grey levels; exact copies: 12")
    framed = cells(picture("x.png"), 10, 28, 4).reshape(-1, 10, 28)[:12]
    made, first, second = (framed[:, 1:9, i * 9 + 1 : i * 9 + 9] for i in range(3))
    assert np.array_equal(made, first) and not np.array_equal(made, second)
    assert (framed[:, [0, -1]] == 128).all() and (framed[:, :, ::9] == 128).all()
    train = data.digits().pixels[:, 0].numpy()
    assert all((train == image).all(axis=(1, 2)).any() for image in second)


def test_the_distances_of_samples_stand_beside_those_of_real_data(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sample("digits --n 40 --out x.npy --quiet") == 0
    assert sample("digits --n 40 --nearest 1 --out x.png") == 0
    line = capsys.readouterr().out.splitlines()[1]
    train, test = (data.digits(split).pixels.flatten(1).double().numpy() for split in ("train", "test"))
    index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(train)
    made = np.load("x.npy").reshape(40, 64).astype(float)
    wanted = [float(np.median(index.kneighbors(x)[0])) / 8 for x in (made, test)]
    found = re.search(r"median: (\S+) of samples, (\S+) of held-out real examples \(297\)", line)
    assert found and np.allclose([float(v) for v in found.groups()], wanted, rtol=0.02)
    assert line.endswith("exact copies: 0") and wanted[0] > 1.5 * wanted[1], "five turns learn nothing"


def test_without_a_held_out_part_training_data_are_compared_with_themselves() -> None:
    rows = normal((300, 3), stream("rows"))
    game = Game(nn.Linear(2, 3), nn.Linear(3, 1), objectives.hinge(), latent=2)
    run = Run(Path("v"), Recipe(data="m:v"), game, {"shape": [3], "range": [0, 1]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling.recipes, "build_source", lambda recipe: data.Vectors(rows))
        beside_it = Sampler(run).neighbours(9, 4)
    own = NearestNeighbors(n_neighbors=2).fit(rows.numpy()).kneighbors(rows.numpy())[0][:, 1] / 3**0.5
    assert np.allclose(beside_it.real.sort().values, np.sort(own), rtol=1e-4)
    assert beside_it.distances.shape == (9, 4) and beside_it.found.shape == (9, 4, 3)
    assert "of training examples among themselves (300), in units of training" in beside_it.line()
    assert beside_it.picture(3).size == (512, 512)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_beside_keeps_every_pixel(channels: int) -> None:
    numbers = np.random.default_rng(0)
    images = numbers.integers(0, 256, (5, channels, 6, 4), dtype=np.uint8)
    others = numbers.integers(0, 256, (5, 2, channels, 6, 4), dtype=np.uint8)
    sheet = beside(images, others)
    assert sheet.shape == (5, channels, 8, 16)
    for i, wanted in enumerate((images, others[:, 0], others[:, 1])):
        assert np.array_equal(sheet[:, :, 1:7, 1 + 5 * i : 5 + 5 * i], wanted)
    assert (sheet[:, :, 0] == sheet[:, :, -1]).all() and (sheet[:, 0, :, ::5] == 128).all()


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        ("dog", (1,)),
        ("cat, dog", (0, 1)),
        ("2", (2,)),
        ("0", (3,)),
        ("1,3", (1, 3)),
        ("dog,1,cat", (1, 1, 0)),
    ],
)
def test_classes_may_be_asked_for_by_name(asked: str, labels: tuple[int, ...]) -> None:
    """A name that is a number is a name first."""
    run = conditional()
    run.facts["class_names"] = ["cat", "dog", "2", "0"]
    sampler = Sampler(run, classes=verb._classes(asked))
    assert sampler.labels == labels and sampler == replace(sampler, classes=verb._classes(asked))
    assert torch.cat([x for x, _ in sampler.parts(6)]).equal(
        torch.cat([x for x, _ in Sampler(run, classes=labels).parts(6)])
    )


def test_the_folders_of_images_are_the_names_of_the_classes(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    for name, level in (("cat", 40), ("dog", 200), ("3", 90)):
        (here / "pets" / name).mkdir(parents=True)
        for i in range(8):
            Image.new("L", (8, 8), level + i).save(here / "pets" / name / f"{i}.png")
    small = "--conditional true --steps 1 --batch 4 --G.width 4 --D.width 4 --threads 1 --watch none"
    assert cli.main(f"train digits --data pets {small} --out run --quiet".split()) == 0
    assert Run.open(here / "run").facts["class_names"] == ["3", "cat", "dog"]
    assert sample("run --class dog,3 --n 4 --out x.npz --quiet") == 0
    assert np.load("x.npz")["labels"].tolist() == [2, 0, 2, 0]
    capsys.readouterr()
    (here / "pets" / "cat" / "8.png").write_bytes(b"")  # so that the folder is read anew
    assert sample("run --nearest 1 --n 4 --out x.png --quiet") == 0


@pytest.mark.parametrize("n", [1, 7, 64, 100, 5000])
@pytest.mark.parametrize("classes", [0, 1, 2, 3, 10, 80, 1000])
def test_columns_are_whole_turns_of_the_classes_in_about_a_square(n: int, classes: int) -> None:
    columns = columns_for(n, classes)
    turn = classes if 1 <= classes <= n else 1
    assert columns % turn == 0 and n**0.5 <= columns < n**0.5 + turn + 1e-9


# without end ----------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_number_of_samples(here: Path) -> None:
    """By how much more the memory of a process swells when it writes ten times as many."""
    code = """
import re
from pathlib import Path
from torch import nn
from zerosum import cli, objectives
from zerosum.game import Game
from zerosum.recipe import Recipe
from zerosum.run.run import Run
game = Game(nn.Linear(4, 16), nn.Linear(16, 1), objectives.hinge(), latent=4)
Run.open = lambda path, step: Run(Path("r"), Recipe(), game, {"shape": [16], "range": [0, 1]})
def memory(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
def growth(n, form):
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = memory("VmRSS")
    assert cli.main(["sample", "r", "--n", str(n), "--out", f"x.{form}", "--quiet"]) == 0
    return memory("VmHWM") - before
sizes = {"npy": 300_000, "npz": 300_000, "csv": 60_000}
for form, n in sizes.items():
    growth(2_000, form)  # whatever is made once only
    small = growth(n // 10, form)
    print(growth(n, form) - small, Path(f"x.{form}").stat().st_size)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(zerosum.__file__).parents[1])}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stderr
    lines = [tuple(map(int, line.split())) for line in found.stdout.splitlines()]
    assert len(lines) == 3
    for growth, size in lines:
        assert size > 1e7 and growth < size / 5, f"{growth:,} more bytes at the peak, {size:,} on the disk"


def test_an_interrupt_leaves_the_old_file(here: Path) -> None:
    Path("x.npy").write_bytes(b"the old one")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(zerosum.__file__).parents[1])}
    command = [sys.executable, "-m", "zerosum", "sample", "ring", "--n", "1000000000", "--out", "x.npy"]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment) as child:
        while child.poll() is None and not any(p.stat().st_size for p in here.glob(".x.npy.*")):
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (130, "", "zerosum: interrupted\n")
    assert Path("x.npy").read_bytes() == b"the old one" and not list(here.glob(".*"))


# what cannot be -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("digits --grid 4", "argument --grid: rows x columns are wanted, such as 4x16: got '4'"),
        ("digits --grid 0x4", "rows x columns are wanted"),
        ("digits --grid 4x4 --n 17", "--n 17: more than --grid has room for"),
        ("digits --grid 4x4 --out x.npy", "--out x.npy: --grid is for a .png"),
        ("ring --grid 4x4", "--grid is for images: ring makes points"),
        ("digits --class three", "--class three: digits makes no classes: leave --class out"),
        ("asked --class three", "--class three: the classes of asked are 0 to 3"),
        ("named --class dog,bird", "--class bird: the classes of named are 0 to 3, called cat, dog, 2, 0"),
        ("digits --class ''", "--class : digits makes no classes"),
        ("asked --class -1", "--class -1: the classes of asked are 0 to 3"),
        ("digits --class 3", "--class 3: digits makes no classes: leave --class out"),
        ("asked --class 1,4", "--class 4: the classes of asked are 0 to 3"),
        ("digits --truncation 0", "--truncation 0.0: it should be above 0"),
        ("digits --truncation nan", "--truncation nan: it should be above 0"),
        ("digits --truncation inf", "--truncation inf: it should be above 0"),
        ("foreign --truncation 1", "--truncation is for the priors normal and uniform"),
        ("digits --interpolate 1", "--interpolate 1: a path needs two samples or more"),
        ("digits --interpolate 4 --n 9", "leave out --n, --grid and --nearest"),
        ("digits --interpolate 4 --nearest 1", "leave out --n, --grid and --nearest"),
        ("digits --interpolate 4 --out x.npy", "--out x.npy: --interpolate draws a .png, .gif or .mp4"),
        ("digits --interpolate 4 --frames 1", "--frames 1: two or more"),
        ("digits --frames 4", "--frames is for --interpolate"),
        ("digits --out x.gif", "--out x.gif: a film shows an --interpolate K: give that too"),
        ("ring --interpolate 4 --out x.gif", "ring makes points: a film is of images; give --out a .png"),
        ("digits --interpolate 4 --out x.mp4", "--out x.mp4: .mp4 needs PyAV: pip install av"),
        ("digits --nearest 0", "--nearest 0: ask for at least one neighbour"),
        ("digits --nearest 1 --out x.npy", "--out x.npy: --nearest draws a .png"),
        ("digits --nearest 1501", "--nearest 1501: there are 1500 training examples"),
        ("ring --nearest 1", "--nearest: ring has new examples at every step: nothing can be copied"),
        ("foreign --nearest 1", "--nearest: mine:Points has new examples at every step"),
        ("uniform --nearest 1", "--nearest: the run's data are [1, 8, 8] each now, and were [1, 4, 4]"),
        ("lost --nearest 1", "--nearest: the run's data cannot be had: data: "),
        ("digits --out x.csv", "digits makes images: .csv is for vectors; give .npy, .npz or .png"),
        ("digits --live --ema", "not allowed with argument --live"),
        ("digits --out x.jpg", "--out x.jpg: the name should end in .png (a picture) or .npy (an array)"),
    ],
)
def test_what_cannot_be_is_one_line(
    command: str, said: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Run.open

    def other(path: Path, step: int | None = None) -> Run:
        if path.name in ("asked", "named"):
            run = conditional()
            run.path = path
            run.facts |= {"class_names": ["cat", "dog", "2", "0"]} if path.name == "named" else {}
            return run
        if path.name == "uniform":
            run = conditional()
            run.recipe = Recipe(data="digits")
            return run
        if path.name == "lost":
            run = opened(Path("digits"), step)
            run.recipe = Recipe(data={"name": "idx_folder", "path": "gone"})
            return run
        return opened(path, step)

    monkeypatch.setattr(Run, "open", other)
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    before = sorted(here.iterdir())
    code, line = error_of(command, capsys)
    assert code == 2 and said in line and len(line) < 250
    assert [p for p in sorted(here.iterdir()) if p.name != "__pycache__"] == before, "nothing is left behind"


def test_a_full_disk_is_a_failure_in_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ("--n 9", "--interpolate 3", "--nearest 1"):
        code, line = error_of(f"digits --out missing/x.png {options}", capsys)
        assert code == 1 and "cannot write missing/x.png: No such file or directory" in line


def test_the_examples_of_the_help_work(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        sample("--help")
    text = capsys.readouterr().out
    commands = re.findall(r"  zerosum sample RUN (.*?)   ", text)
    assert len(commands) == 7
    for command in commands:
        if "--class" not in command:
            small = command.replace("1000000", "1000")
            assert sample(f"digits {small} --quiet") == 0
            out = re.search(r"--out (\S+)", command)
            assert out and Path(out[1]).stat().st_size > 0
    for option in ("--ema", "--live", "--frames", "--nearest", "--truncation", "--class", "--grid"):
        assert option in text
    assert json.dumps(text).count("\\n") > 40
