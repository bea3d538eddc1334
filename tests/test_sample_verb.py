"""The verb `sample`: files that hold what was asked for, whole or not at all; what cannot be, in a line."""

from __future__ import annotations

import csv
import gzip
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageSequence
from sklearn.neighbors import NearestNeighbors

import zerosum
from zerosum import cli, data
from zerosum.export import load
from zerosum.pictures import grid_size
from zerosum.sampling import lerp, slerp

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

class Gone(Points):
    def __init__(self, seed):
        import os
        if os.environ.get("GONE"):
            raise ValueError("they are on another disk")

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
    "lost": {"data": {"name": "mine:Gone"}},
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


def cells(
    sheet: np.ndarray, rows: int, columns: int, height: int, width: int, side: int = 1000
) -> np.ndarray:
    """The images of a sheet, ``[rows, columns, height, width]``, each pixel read once."""
    zoom, *size = grid_size(rows, columns, height, width, side)
    assert sheet.shape[:2] == tuple(size)
    gap = max(1, zoom // 2)
    out = np.zeros((rows, columns, height, width), dtype=sheet.dtype)
    for i in range(rows):
        for j in range(columns):
            top, left = gap + i * (height * zoom + gap), gap + j * (width * zoom + gap)
            out[i, j] = sheet[top : top + height * zoom : zoom, left : left + width * zoom : zoom]
    return out


# every form -----------------------------------------------------------------------------------------------


def read(path: str) -> np.ndarray:
    """Samples of a file or folder, as numbers."""
    if path.endswith(".npz"):
        return np.load(path)["samples"]
    if path.endswith(".npy"):
        return np.load(path)
    if Path(path).is_dir():
        return np.stack(
            [picture(str(file)) for file in sorted(Path(path).rglob("*.png"), key=lambda f: f.name)]
        )
    if path.endswith(".parquet"):
        import pyarrow.parquet as parquet

        return np.stack([column.to_numpy() for column in parquet.read_table(path).columns], axis=1)
    text = Path(path).read_bytes()
    text = gzip.decompress(text) if path.endswith(".gz") else text
    rows = list(csv.reader(text.decode().splitlines(), delimiter="\t" if "tsv" in path else ","))
    assert rows[0] == ["x0", "x1"]
    return np.array(rows[1:], dtype=np.float64)


@pytest.mark.parametrize(
    "out", ["x.npy", "x.npz", "x.csv", "x.tsv", "x.csv.gz", "x.parquet", "folder", "a/folder"]
)
def test_every_form_holds_the_same_samples(out: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if out.endswith("parquet"):
        pytest.importorskip("pyarrow")
    name = "digits" if out.endswith(("npy", "npz", "folder")) else "ring"
    assert sample(f"{name} --n 1500 --seed 2 --out whole.npy --quiet") == 0
    assert sample(f"{name} --n 35 --seed 2 --out {out}") == 0
    assert capsys.readouterr().out == f"35 samples of step 5: {out}\n"
    x, whole = read(out), np.load("whole.npy")
    assert x.shape == whole[:35].shape
    assert np.abs(x.astype(float) - whole[:35]).max() <= (1 if name == "digits" else 1e-6)
    assert not list(here.rglob(".*"))


def test_a_grid_shows_them_in_order_and_what_is_left_is_black(here: Path) -> None:
    assert sample("digits --n 35 --seed 2 --out x.npy --quiet") == 0
    assert sample("digits --n 35 --seed 2 --out x.png --quiet") == 0
    grid = cells(picture("x.png"), 6, 6, 8, 8).reshape(-1, 8, 8)
    assert np.array_equal(grid[:35], np.load("x.npy")) and not grid[35:].any()


def test_labels_are_kept_in_the_values_of_the_data(here: Path) -> None:
    assert sample("classes --n 300 --out x.npz --quiet") == 0
    free = np.load("x.npz")["labels"]
    assert set(free) == set(range(10)) and np.bincount(free).max() > np.bincount(free).min()
    assert sample("classes --n 20 --class 3,5 --out y.npz --quiet") == 0
    assert np.load("y.npz")["labels"].tolist() == [3, 5] * 10
    assert sample("classes --n 20 --class 3,5 --out made --quiet") == 0
    assert {
        folder.name: len(list(folder.iterdir())) for folder in Path("made").iterdir() if any(folder.iterdir())
    } == {
        "3": 10,
        "5": 10,
    }
    assert sample("classes --n 20 --class all --out z.npz --quiet") == 0
    assert np.load("z.npz")["labels"].tolist() == [*range(10)] * 2


def test_a_directory_of_seeds_gives_a_file_for_each(here: Path) -> None:
    for seed in (0, 1):
        (here / "seeds").mkdir(exist_ok=True)
        (here / "seeds" / f"seed{seed}").symlink_to(here / "ring")
    assert sample("seeds --n 9 --out x.npy --quiet") == 0
    assert np.array_equal(np.load("x-seed0.npy"), np.load("x-seed1.npy"))


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
    strip = cells(picture("x.png"), 4, 7, 8, 8)
    assert np.abs(strip[:, 0].astype(int) - x).max() <= 1
    assert np.abs(strip[:, -1].astype(int) - np.roll(x, -1, axis=0)).max() <= 1
    G = load(name)
    z = G.noise(4, 5)
    middle = (slerp if name == "digits" else lerp)(z, z.roll(-1, 0), torch.tensor([0.5]))[:, 0]
    assert np.abs(strip[:, 3].astype(int) - G.codec.decode(G(middle))).max() <= 1
    assert sample(f"{name} --interpolate 4 --quiet") == 0
    assert cells(picture("samples.png"), 4, 10, 8, 8).shape[:2] == (4, 10)


def frames_of(path: str) -> np.ndarray:
    """The images of a film of one digit."""
    with Image.open(path) as film:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(film)]
    return np.stack([cells(frame, 1, 1, 8, 8, 512)[0, 0] for frame in frames])


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


def test_every_class_takes_the_same_way(here: Path) -> None:
    assert sample("classes --interpolate 3 --frames 5 --class 1,3 --out x.png --quiet") == 0
    strip = cells(picture("x.png"), 6, 5, 8, 8).reshape(3, 2, 5, 8, 8).astype(int)
    G = load("classes")
    for column, label in enumerate(("1", "3")):
        assert np.abs(strip[:, column, 0] - G.sample(3, y=label)).max() <= 1
    assert (strip[:, 0] != strip[:, 1]).any()


def test_a_path_of_points_lies_over_samples(here: Path) -> None:
    assert sample("ring --interpolate 5 --frames 40 --out x.png --quiet") == 0
    colours = {tuple(c) for c in picture("x.png").reshape(-1, 3).tolist()}
    assert {(255, 255, 255), (190, 190, 190), (0, 90, 181)} <= colours


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


def test_what_was_learnt_by_heart_is_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample("memory --nearest 2 --n 12 --out x.png") == 0
    _, line = capsys.readouterr().out.splitlines()
    assert "median: 0 of samples, " in line and line.endswith("(297), in grey levels; exact copies: 12")
    assert min(picture("x.png").shape[:2]) > 300


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


# without end ----------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_number_of_samples(here: Path) -> None:
    """By how much more the memory of a process swells when it writes ten times as many."""
    code = """
import re
from pathlib import Path
from torch import nn
from zerosum import data, export
from zerosum.cli import main
from zerosum.game import normal
from zerosum.run.datacard import DataCard
from zerosum.sampling import Generator
G = Generator(nn.Linear(4, 16), (4,), normal, DataCard(data.Numbers((16,))))
export.load = lambda *given, **options: G
def memory(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
def growth(n, form):
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = memory("VmRSS")
    assert main(["sample", "r", "--n", str(n), "--out", f"x.{form}", "--quiet"]) == 0
    return memory("VmHWM") - before
for form, n in {"npy": 300_000, "npz": 300_000, "csv": 60_000}.items():
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
        out, err = child.communicate(timeout=300)
    assert (child.returncode, out, err) == (130, "", "zerosum: interrupted\n")
    assert Path("x.npy").read_bytes() == b"the old one" and not list(here.glob(".*"))


# what cannot be -------------------------------------------------------------------------------------------

CANNOT = """
digits --grid 4
digits --grid 0x4
digits --grid 4x4 --n 17
digits --grid 4x4 --out x.npy
digits --grid 4x4 --nearest 1
digits --grid 100000x100000
digits --n 1000000000000 --out x.png
digits --n 1000000000000 --out x.npy
digits --n 1000000000000 --out folder
classes --n 1000000000000 --out x.npz
ring --n 1000000000000 --out x.csv
ring --grid 4x4
digits --n 0
digits --class three
digits --class ''
classes --class 10
classes --class three
classes --class 3,-1
digits --truncation 0
digits --truncation nan
digits --truncation inf
foreign --truncation 1
digits --interpolate 1
digits --interpolate 4 --n 9
digits --interpolate 4 --nearest 1
digits --interpolate 4 --out x.npy
digits --interpolate 4 --frames 1
digits --interpolate 4 --frames 1000000000
digits --interpolate 4 --frames 1000000000 --out x.gif
ring --interpolate 4 --frames 1000000000
digits --frames 4
digits --out x.gif
ring --interpolate 4 --out x.gif
digits --interpolate 4 --out x.mp4
digits --nearest 0
digits --nearest 1 --out x.npy
digits --nearest 1501
ring --nearest 1
foreign --nearest 1
lost --nearest 1
digits --out x.csv
ring --out folder
digits --live --ema
digits --out x.jpg
digits --out uniform
"""


@pytest.mark.parametrize("command", CANNOT.strip().splitlines())
def test_what_cannot_be_is_one_line(
    command: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GONE", "yes")
    monkeypatch.setattr("zerosum.cli.sample.find_spec", lambda name: None)
    before = sorted(here.iterdir())
    code, line = error_of(command, capsys)
    assert code == 2 and len(line) < 300
    if "000000000" in command:
        assert re.search(r"(?<!\d)[1-9][\d,]* (would fit|of them|points)|at most [\d,]+", line), (
            "says what can be"
        )
    assert [p for p in sorted(here.iterdir()) if p.name != "__pycache__"] == before, "nothing is left behind"


def test_a_full_disk_is_a_failure_in_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ("--n 9", "--interpolate 3", "--nearest 1"):
        code, line = error_of(f"digits --out missing/x.png {options}", capsys)
        assert code == 1 and "missing/x.png" in line


def test_the_examples_of_the_help_work(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample("--help") == 0
    text = capsys.readouterr().out
    commands = re.findall(r"  zerosum sample RUN (.*?)   ", text)
    commands = [command for command in commands if "--where" not in command]  # of tables: test_table_gan
    assert len(commands) == 9
    for command in commands:
        small = re.sub("1000000|50000", "100", command)
        name = "classes" if "--class" in command else "ring" if ".csv" in command else "digits"
        assert sample(f"{name} {small} --quiet") == 0
        out = re.search(r"--out (\S+)", command)
        assert out is None or Path(out[1]).stat().st_size > 0
