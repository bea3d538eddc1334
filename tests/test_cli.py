"""The command line: a line for whatever is wrong, the right exit code, and commands that work as printed."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import zerosum
from zerosum import cli
from zerosum import recipe as recipes
from zerosum.cli import sample, train  # noqa: F401 (as cli.sample, cli.train)
from zerosum.recipe import Recipe
from zerosum.run import checkpoints

ZEROSUM = [sys.executable, "-m", "zerosum"]
SMALL = {"name": "mlp", "width": 4, "depth": 1}
TINY = {
    "data": "ring",
    "latent": 2,
    "G": SMALL,
    "D": SMALL,
    "penalties": ["r1"],
    "batch": 8,
    "steps": 6,
    "log_every": 2,
    "checkpoint_every": 2,
    "threads": 1,
}
MINE = """
import os, time
import torch
from torch import nn
from torch.nn.functional import softplus
from zerosum import Objective, Penalty, data

def points(seed, shape=2):
    class Points:
        classes = 0
        shape = (2,)
        def batch(self, step, n):
            time.sleep(float(os.environ.get("SLOW", 0)))
            return data.ring(seed=seed).batch(step, n)
    return Points()

class Cube:
    classes, shape = 0, (1, 4, 4)
    def __init__(self, seed): pass
    def batch(self, step, n): return torch.zeros(n, 1, 4, 4), None

def G(inputs, outputs): return nn.Linear(*inputs, 2)
def D(inputs, outputs): return nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
def loss(): return Objective(lambda r, f: softplus(-r) + softplus(f), lambda r, f: -f, 1.386)
def flat(weight=0.1): return Penalty(lambda critic, real, fake: critic(real) ** 2, weight, name="flat")
def prop(lr=0.01): return lambda parameters: torch.optim.RMSprop(parameters, lr=lr)
def raises(inputs, outputs): raise RuntimeError("no network today\\nat all")
def late(): return Objective(lambda r, f: {}[0], lambda r, f: -f, 1.386)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a user: a small recipe, and a module of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    Path("tiny.yaml").write_text(yaml.safe_dump(TINY))
    Path("mine.py").write_text(MINE)
    return tmp_path


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["train", "tiny.yaml", "--out", "run", "--quiet"]) == 0
    capsys.readouterr()
    return "run"


def called(command: str) -> tuple[int, None]:
    return cli.main(shlex.split(command)), None


def error_of(command: str | list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code and the one line that a wrong command gives."""
    code = cli.main(shlex.split(command) if isinstance(command, str) else command)
    out, err = capsys.readouterr()
    assert err.startswith("zerosum: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert "Traceback" not in err and "\x1b" not in err and len(err) < 1000
    assert "Traceback" not in out
    return code, err


def process(*args: str, **env: str) -> subprocess.Popen[str]:
    source = str(Path(zerosum.__file__).parents[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": source, **env}
    pipe = subprocess.PIPE
    return subprocess.Popen([*ZEROSUM, *args], stdout=pipe, stderr=pipe, text=True, env=environment)


def picture(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def weights(path: str | Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in max((Path(path) / "checkpoints").iterdir()).glob("*.safetensors")}


# help -----------------------------------------------------------------------------------------------------


def test_help_names_everything_and_needs_no_torch() -> None:
    """In a process of its own, as torch is in this one."""
    code = """
import contextlib, io, json, sys
from zerosum import cli
texts = {}
for args in [[], ["--help"], ["-h"], ["--version"], *([verb, "--help"] for verb in cli.VERBS)]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            assert cli.main(args) == 0
        except SystemExit as end:
            assert end.code == 0
    texts[" ".join(args)] = text.getvalue()
for wrong in ["trian ring", "train", "sample x --n many", "sample"]:
    with contextlib.redirect_stderr(io.StringIO()) as err:
        assert cli.main(wrong.split()) == 2
    assert err.getvalue().count("\\n") == 1
assert not {"torch", "numpy", "pydantic", "yaml", "rich", "PIL"} & set(sys.modules), "slow to start"
print(json.dumps(texts))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    texts = json.loads(found.stdout)
    assert texts[""] == texts["--help"] == texts["-h"] and all(
        f"\n  {verb} " in texts[""] for verb in cli.VERBS
    )
    assert texts["--version"] == f"zerosum {zerosum.__version__}\n"
    for option in (
        "recipe",
        "--data",
        "--out",
        "--steps",
        "--seed",
        "--override",
        "--quiet",
        "--any.recipe.field",
    ):
        assert option in texts["train --help"]
    for option in ("run", "--n", "--out", "--seed", "--step", "--live", "--quiet", ".npy", ".png"):
        assert option in texts["sample --help"]
    assert "name" in texts["recipes --help"]
    assert max(len(line) for text in texts.values() for line in text.splitlines()) <= 130


def test_recipes_are_listed_and_printed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipes"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(recipes.presets())
    assert all(about in line for about, line in zip(recipes.presets().values(), listed, strict=True))
    for name in (*recipes.presets(), "tiny.yaml"):
        assert cli.main(["recipes", name]) == 0
        Path("printed.yaml").write_text(capsys.readouterr().out)
        assert recipes.resolved(recipes.load("printed.yaml")) == recipes.resolved(recipes.load(name))
        assert list(yaml.safe_load(Path("printed.yaml").read_text())) == [f.name for f in fields(Recipe)]


# wrong usage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("trian ring", "did you mean 'train'?"),
        ("--train ring", "there is no verb '--train'"),
        ("train", "required: recipe (see zerosum train --help)"),
        ("train rign", "did you mean 'ring'?"),
        ("train missing.yaml", "cannot read the recipe missing.yaml: No such file"),
        ("train broken.yaml", "broken.yaml is not YAML"),
        ("train wrong.yaml", "a recipe has no field 'stepz'; did you mean 'steps'?"),
        ("train tiny.yaml --stepz 5", "did you mean 'steps'?"),
        ("train tiny.yaml --G.widht 5", "did you mean 'width'?"),
        ("train tiny.yaml --steps 0", "steps: input should be greater than 0"),
        ("train tiny.yaml --steps -5", "steps: input should be greater than 0"),
        ("train tiny.yaml --steps many", "steps: input should be a valid integer"),
        ("train tiny.yaml --steps", "--steps: expected one argument"),
        ("train tiny.yaml --steps=", "steps: input should be a valid integer"),
        ("train tiny.yaml --seed -1", "seed: input should be greater than or equal to 0"),
        ("train tiny.yaml --G.width", "--G.width has no value"),
        ("train tiny.yaml extra", "'extra' has no value"),
        ("train tiny.yaml --G.width wide", "G.width: input should be a valid integer"),
        ("train tiny.yaml --G.width 0", "G: layers.0.weight has the shape [0, 2]: no width may be 0"),
        ("train tiny.yaml --G.width -3", "G.width"),
        ("train tiny.yaml --G.width '['", "is not a value"),
        ("train tiny.yaml --ema 1.5", "ema: input should be less than 1"),
        ("train tiny.yaml --g_optimizer.lr .nan", "g_optimizer.lr: input should be a finite number"),
        ("train tiny.yaml --g_optimizer.lr nan", "g_optimizer.lr: input should be a finite number"),
        ("train tiny.yaml --g_optimizer.lr -1e-3", "g_optimizer.lr"),
        ("train tiny.yaml --objective minmax", "did you mean 'minimax'?"),
        (
            "train tiny.yaml --data rnig",
            "--data rnig: neither a folder, a file nor a name of data; did you mean 'ring'?",
        ),
        ("train tiny.yaml --data missing", "--data missing: neither a folder, a file nor a name of data"),
        ("train tiny.yaml --data empty", "empty: there is no image in this folder: it is empty"),
        (
            "train tiny.yaml --data colour",
            "data: colour/train-images-idx3-ubyte: not an IDX file of bytes in 3-D",
        ),
        ("train tiny.yaml --data mine:Cube --D mine:D", "D: given [2, 1, 4, 4]: "),
        ("train tiny.yaml --data mine:Cube --G mine:G", "G: given [2, 2], it should make [2, 1, 4, 4]"),
        ("train tiny.yaml --G mine:nothing", "G: cannot import 'mine:nothing': AttributeError"),
        ("train tiny.yaml --G nowhere:G", "G: cannot import 'nowhere:G': ModuleNotFoundError"),
        ("train tiny.yaml --G broken_module:G", "G: cannot import 'broken_module:G': ZeroDivisionError"),
        ("train tiny.yaml --G mine:raises", "G: RuntimeError: no network today at all (mine.py, line "),
        ("train tiny.yaml --device quantum", "device: 'quantum' is not on this machine"),
        ("sample", "required: run"),
        ("sample run --n 0", "argument --n: "),
        ("sample run --n many", "argument --n: 'many' is not a whole number"),
        ("sample run --out x.jpg", "--out x.jpg: the name should end in .png (a picture)"),
        ("sample run --sead 3", "unrecognized arguments: --sead 3 (see zerosum sample --help)"),
        ("recipes rign", "did you mean 'ring'?"),
        ("recipes ring grid", "unrecognized arguments: grid"),
    ],
)
def test_wrong_usage_is_one_line_and_two(
    command: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.yaml").write_text("G: [unclosed\n  - x: : y")
    Path("wrong.yaml").write_text("stepz: 5")
    Path("broken_module.py").write_text("1 / 0")
    Path("empty").mkdir()
    Path("colour").mkdir()
    for name, shape in (("images-idx3", (2, 3, 4, 4)), ("labels-idx1", (2,))):
        content = (
            bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(int(np.prod(shape)))
        )
        Path(f"colour/train-{name}-ubyte").write_bytes(content)
    before = sorted(here.iterdir())
    code, line = error_of(command, capsys)
    assert code == 2 and said in line
    assert [p for p in sorted(here.iterdir()) if p.name != "__pycache__"] == before, "nothing is left behind"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train tiny.yaml --out tiny.yaml", "cannot write to tiny.yaml: File exists"),
        ("train tiny.yaml --out tiny.yaml/below", "cannot write to tiny.yaml/below: Not a directory"),
        ("train tiny.yaml --out /proc/zerosum", "cannot write to /proc/zerosum: "),
        ("train tiny.yaml --out run --batch 16", "batch: 8 -> 16"),
        (
            "train tiny.yaml --out late --objective mine:late --watch none",
            "step 1: KeyError: 0 (traceback: the last line of ",
        ),
        (
            "train tiny.yaml --out far --g_optimizer.lr 1e30",
            "step 2: d_loss is nan. The last good checkpoint is of step 0",
        ),
        ("sample empty", "empty is not a run: it holds no recipe.yaml"),
        ("sample nowhere", "nowhere is not a run"),
        ("sample begun", "begun has no checkpoint yet: train it first"),
        ("sample run --step 3", "run has no checkpoint of step 3: it has 2, 4, 6"),
        ("sample run --out nowhere/x.npy", "cannot write nowhere/x.npy: No such file or directory"),
        ("sample run --out tiny.yaml/x.png", "cannot write tiny.yaml/x.png: Not a directory"),
        ("sample run --out folder.npy", "cannot write folder.npy: Is a directory"),
    ],
)
def test_a_failure_is_one_line_and_one(
    command: str, said: str, run: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("empty", "begun", "folder.npy"):
        Path(name).mkdir()
    Path("begun/recipe.yaml").write_text(recipes.dump(recipes.load("tiny.yaml")))
    code, line = error_of([*shlex.split(command), "--quiet"], capsys)
    assert code == 1 and said in line
    assert not list(here.glob(".*"))


def test_a_second_process_is_refused_in_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from zerosum.run.run import Run

    with Run.start(Path("run"), recipes.load("tiny.yaml")):
        code, line = error_of("train tiny.yaml --out run", capsys)
    assert code == 1 and "another process is training in run" in line


def test_a_defect_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.sample, "run", lambda args: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["sample", "x"])


def test_an_interrupt_while_starting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(args: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.train, "run", interrupted)
    assert error_of("train ring", capsys) == (130, "zerosum: interrupted\n")


def test_real_images_lie_beside_those_that_a_run_makes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [f"--{player}={{name: mlp, width: 4, depth: 1}}" for player in "GD"]
    words = ["train", "digits", *small, "--batch=4", "--steps=2", "--watch=none", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    shown, real = np.asarray(Image.open(tmp_path / "samples/real.png")), zerosum.data.digits()
    pixels = real.codec.view(real.batch(0, 64)[0])[0, 0].numpy()
    assert shown.shape == (959, 959) and np.array_equal(shown[7:119:14, 7:119:14], pixels)
    assert f"(real ones: {tmp_path}/samples/real.png)" in capsys.readouterr().out


# train ----------------------------------------------------------------------------------------------------


def test_plain_lines_where_there_is_no_terminal(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "tiny.yaml"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "\x1b" not in out
    lines = out.splitlines()
    assert lines[0] == "tiny: nonsaturating on ring, in runs/tiny-seed0"
    assert "batch 8, 6 turns" in lines[1] and "a turn takes" in lines[2]
    del lines[1:3]
    assert lines[1].startswith("step 2/6  ETA 0:00:0")
    for figure in (
        "speed ",  # steps/s, or s/step where it is slow
        "examples/s",
        "D(x), D(G(z)) 0.",
        "V(D, G) -",
        "-log 4 = -1.3863",
        "D loss",
        "G loss",
        "r1 ",
    ):
        assert figure in lines[1]
    assert lines[-5].startswith("step 6/6") and lines.pop(-3).startswith("best:     step 6")
    assert lines[-4].startswith("step 6/6")
    assert lines[-3:] == [
        "finished: 6 steps, in runs/tiny-seed0",
        "samples:  runs/tiny-seed0/samples/000006.png",
        "next:     zerosum sample runs/tiny-seed0 --n 64 --out samples.png",
    ]
    assert cli.main(shlex.split(lines[-1].removeprefix("next:     zerosum "))) == 0
    assert picture("samples.png").shape == (640, 640, 3)
    capsys.readouterr()
    assert cli.main(["train", "tiny.yaml"]) == 0
    again = capsys.readouterr().out.splitlines()
    assert again[1] == "finished: 6 steps, in runs/tiny-seed0 (it was before; give more --steps to go on)"
    assert cli.main(["train", "tiny.yaml", "--steps", "8"]) == 0
    assert "finished: 8 steps" in capsys.readouterr().out


def test_what_comes_next_after_a_table_is_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("town,spent\n" + "".join(f"{'ab'[i % 2]},{i / 7:.2f}\n" for i in range(60)))
    small = "--G.width 4 --D.width 4 --G.depth 1 --D.depth 1 --batch 8 --threads 1 --watch none --steps 1"
    assert cli.main(["train", "ring", "--data", "t.csv", "--out", "run", *small.split()]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert cli.main(shlex.split(last.removeprefix("next:     zerosum "))) == 0
    assert Path("samples.csv").read_text().startswith("town,spent\n")


def test_quiet_is_quiet(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "tiny.yaml", "--out", "run", "--quiet"]) == 0
    assert cli.main(["sample", "run", "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


def test_critics_show_logits_and_images_are_called_images(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "tiny.yaml", "--data", "digits", "--objective", "wasserstein"]) == 0
    out = capsys.readouterr().out
    assert "images/s" in out and "logits real" in out and "V(D, G)" not in out and "D(x)" not in out


@pytest.mark.parametrize(
    "command",
    [
        "train tiny.yaml --G.width 7 --steps=3 --out a",
        "train --G.width 7 tiny.yaml --out a --steps 3",
        "train tiny.yaml G.width 7 --steps 3 --out a",
        "train --out a --steps 3e0 --quiet tiny.yaml --G '{name: mlp, width: 7, depth: 1}'",
    ],
)
def test_fields_may_be_written_in_any_of_the_usual_ways(command: str, here: Path) -> None:
    assert called(command)[0] == 0
    recipe = recipes.load("a/recipe.yaml")
    assert isinstance(recipe.G, dict) and recipe.G["width"] == 7 and recipe.steps == 3


def test_data_may_be_chosen_and_then_set(here: Path) -> None:
    assert called("train tiny.yaml --data.side 3 --data grid --quiet --out a")[0] == 0
    recipe = recipes.load("a/recipe.yaml")
    assert isinstance(recipe.data, dict) and (recipe.data["name"], recipe.data["side"]) == ("grid", 3)


def test_a_broken_checkpoint_is_a_warning(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = weights(run)
    (Path(run) / "checkpoints/000006/state.pt").write_bytes(b"")
    assert cli.main(["sample", run, "--quiet"]) == 0
    warning = capsys.readouterr().err
    assert (
        warning.startswith("zerosum: warning: falling back to the checkpoint of step 4")
        and warning.count("\n") == 1
    )
    assert cli.main(["train", "tiny.yaml", "--out", run, "--quiet"]) == 0
    assert capsys.readouterr().err == warning
    assert weights(run) == before


def test_the_live_panel_of_a_terminal(here: Path) -> None:
    """In a pseudo-terminal, as a person sees it: what stands there at the end."""
    main, side = pty.openpty()
    environment = {
        **os.environ,
        "COLUMNS": "100",
        "LINES": "40",
        "TERM": "xterm-256color",
        "OMP_NUM_THREADS": "1",
    }
    environment["PYTHONPATH"] = str(Path(zerosum.__file__).parents[1])
    command = [*ZEROSUM, "train", "tiny.yaml", "--steps", "8"]
    with subprocess.Popen(command, stdout=side, stderr=side, env=environment) as child:
        os.close(side)
        seen = b""
        while True:
            try:
                seen += os.read(main, 65536)
            except OSError:  # the other side is closed
                break
    os.close(main)
    assert child.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    panel = text[text.rindex("╭") : text.rindex("╯")]
    assert "tiny: nonsaturating on ring, in runs/tiny-seed0" in panel
    shown = {row[1:-1].split("  ")[0].strip(): row for row in panel.splitlines() if row.startswith("│")}
    assert "8 of 8" in shown["step"] and "0:00:00" in shown["ETA"] and "step" in shown["speed"]
    assert re.search(r"0\.\d{3}, 0\.\d{3} .*equilibrium 0\.5", shown["D(x), D(G(z))"])
    assert re.search(r"-\d\.\d{4} .*-log 4 = -1\.3863", shown["V(D, G)"])
    assert re.search(r"\d\.\d{4} .*equilibrium 1\.3863", shown["D loss"]) and "G loss" in shown
    assert re.search(r"\d\.\d{5}", shown["r1"]) and "step 8" in shown["checkpoint"]
    assert "next:     zerosum sample runs/tiny-seed0" in text[text.rindex("╯") :]


def test_ctrl_c_and_sigterm_save_and_say_how_to_go_on(here: Path) -> None:
    """The command that is printed works when pasted; in the end the bytes are those of a run left alone."""
    path = "my runs/it's one"
    slow = ["train", "tiny.yaml", "--data", "mine:points", "--steps", "40", "--log_every", "1", "--out", path]
    slow += ["--checkpoint_every", "1000", "--quiet"]
    command = shlex.join(["zerosum", *slow])
    steps: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        child = process(*shlex.split(command)[1:], SLOW="0.2")
        log = Path(path) / "metrics.jsonl"
        while child.poll() is None and (
            not log.exists() or log.read_bytes().count(b"\n") <= (steps or [0])[-1]
        ):
            time.sleep(0.02)
        child.send_signal(number)
        out, err = child.communicate(timeout=300)
        assert (child.returncode, out) == (128 + number, "")
        stopped, go_on = err.splitlines()
        assert stopped.startswith(f"stopped by {number.name} after step ") and stopped.endswith(
            f"saved in {path}"
        )
        steps += checkpoints.steps(Path(path) / "checkpoints")[-1:]
        assert f"after step {steps[-1]}," in stopped and 0 < steps[-1] < 40
        assert json.loads((Path(path) / "events.jsonl").read_text().splitlines()[-1])["reason"] == number.name
        assert go_on.startswith("to go on: ")
        command = go_on.removeprefix("to go on: ")
    assert steps[0] < steps[1]
    assert cli.main(shlex.split(command)[1:]) == 0
    slow[slow.index("--out") + 1] = "straight"
    assert cli.main(slow) == 0
    assert weights(path) == weights("straight")


def test_your_own_parts_stand_beside_you(here: Path) -> None:
    """By the console script, whose sys.path knows nothing of the working directory."""
    parts = "--data mine:points --G mine:G --D mine:D --objective mine:loss --penalties [mine:flat]"
    optimizers = (
        "--g_optimizer mine:prop --d_optimizer '{name: optimistic, base: {name: mine:prop, lr: 0.1}}'"
    )
    script = Path(sys.executable).with_name("zerosum")
    command = shlex.split(f"train tiny.yaml {parts} {optimizers} --steps 3 --log_every 1")
    environment = {**os.environ, "PYTHONPATH": str(Path(zerosum.__file__).parents[1])}
    found = subprocess.run([script, *command], capture_output=True, text=True, env=environment)
    assert (found.returncode, found.stderr) == (0, "")
    assert "tiny: mine:loss on mine:points" in found.stdout and "flat 0." in found.stdout
    record = json.loads(Path("runs/tiny-seed0/metrics.jsonl").read_text().splitlines()[-1])
    assert record["step"] == 3 and "flat" in record


def test_a_reader_that_goes_away_and_a_full_output(here: Path) -> None:
    child = process("recipes", "digits")
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait() == 1 and child.stderr is not None and child.stderr.read() == ""
    child.stderr.close()
    with open("/dev/full", "w") as full:  # noqa: PTH123
        found = subprocess.run(
            [*ZEROSUM, "recipes", "digits"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (found.returncode, found.stderr) == (1, "zerosum: the output: No space left on device\n")


# sample ---------------------------------------------------------------------------------------------------


def test_arrays_of_vectors(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(f"sample {run} --n 2500 --out x.npy")[0] == 0
    assert capsys.readouterr().out == "2,500 samples of step 6: x.npy\n"
    x = np.load("x.npy", allow_pickle=False)
    assert x.shape == (2500, 2) and x.dtype == np.float32
    assert not np.array_equal(x[:1024], x[1024:2048]), "every part has noise of its own"
    files: dict[str, Any] = {"same": "", "seed": "--seed 1", "live": "--live", "step": "--step 2"}
    for name, options in files.items():
        assert called(f"sample {run} --n 2500 --out {name}.npy --quiet {options}")[0] == 0
        files[name] = np.load(f"{name}.npy", allow_pickle=False)
    assert np.array_equal(files["same"], x)
    assert not any(np.array_equal(files[name], x) for name in ("seed", "live", "step"))
    assert called(f"sample {run} --n 1030 --out y.npy --quiet")[0] == 0
    assert np.array_equal(np.load("y.npy")[:1024], x[:1024]), "more samples begin with the same ones"


def test_pictures_and_arrays_of_images(here: Path) -> None:
    output = "--G {name:\\ mlp,\\ width:\\ 4,\\ output:\\ Tanh}"
    assert called(f"train tiny.yaml --data digits --out run --quiet {output}")[0] == 0
    assert called("sample run --n 30 --out x.npy --quiet")[0] == 0
    x = np.load("x.npy")
    assert x.shape == (30, 8, 8) and x.dtype == np.uint8
    assert called("sample run --n 30 --out x.png --quiet")[0] == 0
    sheet = picture("x.png")
    assert sheet.shape == (5 * 161 + 9, 6 * 161 + 9)  # 8 x 8 pixels, 19 times as large, with gaps of 9
    for i, image in enumerate(x):
        top, left = 9 + i // 6 * 161, 9 + i % 6 * 161
        assert np.array_equal(sheet[top : top + 152 : 19, left : left + 152 : 19], image)
    assert sorted(p.name for p in here.iterdir() if p.name[0] == ".") == []


def test_an_array_too_large_for_the_disk_leaves_nothing(
    run: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        code, line = error_of(f"sample {run} --n 100000 --out big.npy", capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 1 and "cannot write big.npy: File too large" in line
    assert not list(here.glob("*big*")) and not list(here.glob(".*"))
