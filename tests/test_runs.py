"""A run tells in one line what stops it, keeps what was good, and never saves what is not finite."""

from __future__ import annotations

import hashlib
import json
import math
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from refusals import refused
from zerosum import recipe as recipes
from zerosum.recipe import Recipe
from zerosum.run import checkpoints
from zerosum.run.log import Log, RunError
from zerosum.run.run import Run
from zerosum.sampling import Generator

SMALL = {"name": "mlp", "width": 4, "depth": 1}
TINY = Recipe(
    name="tiny",
    data="ring",
    latent=2,
    G=SMALL,
    D=SMALL,
    batch=8,
    steps=6,
    log_every=1,
    sample_every=1000,
    checkpoint_every=2,
    keep=3,
    threads=1,
)
ADAM = {"name": "adam", "lr": 0.01}

PARTS = """
import torch
from zerosum import Objective, data
from zerosum.data.codec import Pixels

class Poisoned:
    classes, shape = 0, (2,)
    def __init__(self, seed=0, step=3, error=None):
        self.ring, self.step, self.error = data.ring(seed=seed), step, error
    def batch(self, step, n):
        x, y = self.ring.batch(step, n)
        if step >= self.step and self.error:
            raise {"OSError": OSError(5, "the data are gone"), "KeyError": KeyError("lost\\nkey")}[self.error]
        return (x * torch.nan if step >= self.step else x), y

class Colour:
    classes, shape, codec = 0, (3, 2, 5), Pixels((3, 2, 5), 0.0, 1.0)
    def __init__(self, seed=0): pass
    def batch(self, step, n): return torch.full((n, 3, 2, 5), 0.25), None

class Many(Colour):
    shape, codec = (6, 2, 5), Pixels((6, 2, 5), 0.0, 1.0)
    def batch(self, step, n): return torch.zeros(n, 6, 2, 5), None

class Table(Colour):
    shape, codec = (4, 3), None
    def batch(self, step, n): return torch.zeros(n, 4, 3), None

def huge(): return lambda parameters: torch.optim.SGD(parameters, lr=1e38)
def steep(): return Objective(lambda real, fake: fake - real, lambda real, fake: -1e6 * fake, 0.0, None)
"""


@pytest.fixture(autouse=True)
def parts(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("parts")
    (folder / "parts_of_test_runs.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(folder))


def train(path: Path, recipe: Recipe = TINY, stop_after: int = 10**9, override: bool = False) -> list[str]:
    """Start or take up a run; its notes."""
    with Run.start(path, recipe, override) as run:
        for i, _ in enumerate(run.play()):
            if i + 1 == stop_after:
                run.stop("test")
        return run.notes


def failed(path: Path, recipe: Recipe = TINY, **kw: Any) -> str:
    with pytest.raises(RunError) as caught:
        train(path, recipe, **kw)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]


def logged(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()]


def kept(path: Path) -> list[int]:
    """The checkpoints, each of which is whole and finite."""
    steps = checkpoints.steps(path / "checkpoints")
    for step in steps:
        state = checkpoints.load(path / f"checkpoints/{step:06d}").state
        assert all(v.isfinite().all() for _, v in recipes.leaves(state) if isinstance(v, torch.Tensor))
    return steps


def weights(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in max((path / "checkpoints").iterdir()).glob("*.safetensors")}


def damage(path: Path, step: int) -> None:
    file = path / f"checkpoints/{step:06d}/D.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


# the directory --------------------------------------------------------------------------------------------


def test_a_run_leaves_what_the_design_says(tmp_path: Path) -> None:
    path = tmp_path / "deep/run"
    assert train(path, replace(TINY, sample_every=3)) == []
    names = {"recipe.yaml", "metrics.jsonl", "events.jsonl", "samples", "checkpoints"}
    assert {p.name for p in path.iterdir()} == names
    assert logged(path) == [1, 2, 3, 4, 5, 6]
    assert [e["event"] for e in events(path)] == ["started", "finished"]
    assert kept(path) == [2, 4, 6]
    assert sorted(p.name for p in (path / "samples").iterdir()) == ["000000.png", "000003.png", "000006.png"]
    assert recipes.resolved(recipes.load(str(path / "recipe.yaml"))) == recipes.resolved(
        replace(TINY, sample_every=3)
    )
    for line in (path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
        record = json.loads(line)
        d, g = record["d_real"], record["d_fake"]
        assert 0 < d < 1 and 0 < g < 1 and record["value"] == pytest.approx(-record["d_loss"], abs=1e-5)


def test_a_lazy_penalty_is_logged_with_the_turn_that_it_belongs_to(tmp_path: Path) -> None:
    """At every = 4 and log_every = 2 it is never due in a turn that is logged: its own is logged as well."""
    recipe = replace(TINY, penalties=({"name": "r1", "every": 4},), log_every=2, steps=8, watch="none")
    with Run.start(tmp_path / "run", recipe) as run:
        shown = [record["step"] for record in run.play()]
    records = Log(tmp_path / "run").records()
    assert shown == [2, 4, 6, 8] and [record["step"] for record in records] == [1, 2, 4, 5, 6, 8]
    assert [record["step"] for record in records if "r1" in record] == [1, 5]
    assert all({"d_loss", "g_loss"} <= record.keys() for record in records)


def test_pictures_of_one_run_show_the_same_noise(tmp_path: Path) -> None:
    train(tmp_path / "a", replace(TINY, checkpoint_every=1, sample_every=6))
    with Run.start(tmp_path / "a", TINY) as run:
        run.picture()
    with Run.start(tmp_path / "b", TINY) as run:
        list(run.play())
    again = tmp_path / "b/samples/000006.png"
    assert again.read_bytes() == (tmp_path / "a/samples/000006.png").read_bytes()


def test_nothing_is_written_for_a_recipe_that_cannot_be_built(tmp_path: Path) -> None:
    with pytest.raises(recipes.RecipeError):
        Run.start(tmp_path / "run", replace(TINY, objective="hing"))
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_caller_are_the_callers(tmp_path: Path) -> None:
    with refused(by=OSError), Run.start(tmp_path / "run", TINY) as run:
        for _ in run.play():
            raise OSError("mine")
    assert train(tmp_path / "run") == []


# take up --------------------------------------------------------------------------------------------------


def test_a_changed_recipe_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(path)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    said = failed(path, replace(TINY, batch=9, g_optimizer=ADAM, name="other", log_every=3))
    assert "batch: 8 -> 9" in said and "g_optimizer.lr: 0.0002 -> 0.01" in said and "--override" in said
    assert "log_every" not in said and "name" not in said
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_override_goes_on_with_the_new_settings(tmp_path: Path) -> None:
    """Those of an optimizer too, which torch's own state would bring back."""
    path = tmp_path / "run"
    for name, optimizer in (("plain", ADAM), ("wrapped", {"name": "optimistic", "base": ADAM})):
        train(path / name, replace(TINY, g_optimizer=optimizer))
        slower = json.loads(json.dumps(optimizer).replace("0.01", "0.005"))
        with Run.start(
            path / name, replace(TINY, g_optimizer=slower, batch=4, steps=8), override=True
        ) as run:
            assert run.game.step == 6 and run.game.batch == 4
            assert [group["lr"] for group in run.game.G.optimizer.param_groups] == [0.005]
            assert len(list(run.play())) == 2
            assert [group["lr"] for group in run.game.G.optimizer.param_groups] == [0.005]
        recipe = recipes.load(str(path / name / "recipe.yaml"))
        assert dict(recipes.leaves(recipe.g_optimizer)).get("lr", 0.005) == 0.005 and recipe.batch == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"G": {**SMALL, "width": 5}}, "[4, 2], and should be float32 [5, 2]"),
        ({"D": {**SMALL, "depth": 2}}, "lacks"),
        ({"data": "digits"}, "[2, 4], and should be float32 [64, 4]"),
        ({"d_optimizer": {"name": "sgd"}}, "the optimizer of D is another"),
        ({"g_optimizer": {"name": "optimistic", "base": "adam"}}, "base"),
        ({"penalties": ("lecam",)}, "lecam"),
        ({"ema": None}, "never"),
    ],
    ids=str,
)
def test_override_cannot_make_another_game_of_it(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    """And what was there stays: the recipe that fits its checkpoints, above all."""
    path = tmp_path / "run"
    train(path)
    before = (path / "recipe.yaml").read_bytes(), weights(path)
    if said == "never":  # without an average there is one part less to load
        train(path, replace(TINY, **change), override=True)
        return
    message = failed(path, replace(TINY, **change), override=True)
    assert said in message and "the checkpoint of step 6" in message
    assert ((path / "recipe.yaml").read_bytes(), weights(path)) == before
    train(path)


def test_a_finished_run_loses_nothing_and_goes_on_with_more_steps(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(path)
    before = weights(path), logged(path)
    train(path)
    assert (weights(path), logged(path)) == before
    assert [e["event"] for e in events(path)] == ["started", "finished", "resumed", "finished"]
    train(path, replace(TINY, steps=3))
    assert (weights(path), logged(path)) == before
    train(path, replace(TINY, steps=9))
    assert logged(path) == list(range(1, 10)) and kept(path) == [6, 8, 9]
    train(tmp_path / "straight", replace(TINY, steps=9))
    assert weights(path) == weights(tmp_path / "straight")


def test_two_runs_in_one_directory(tmp_path: Path) -> None:
    with Run.start(tmp_path / "run", TINY):
        assert "another process is training" in failed(tmp_path / "run")
        Run.open(tmp_path / "run")  # looking is free
    run = Run.start(tmp_path / "run", TINY)
    del run  # forgotten is as good as closed
    train(tmp_path / "run")


def test_lines_that_a_kill_cut_short_are_mended(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(path, replace(TINY, checkpoint_every=4), stop_after=3)
    with (path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 5, "d_loss": 1.0}\n{"step": 6}\nnoise\n[1]\n{"step": "x"}\n{"step": 3, "d_lo')
    with (path / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "sto')
    train(path)
    assert logged(path) == [1, 2, 3, 4, 5, 6]
    assert [e["event"] for e in events(path)] == ["started", "stopped", "resumed", "finished"]


def test_what_interrupted_writes_left_is_swept_away(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(path)
    (path / "checkpoints/.000007.1.writing").mkdir()
    (path / "samples/.000007.png.1.writing").write_bytes(b"half")
    (path / ".recipe.yaml.1.writing").write_bytes(b"half")
    train(path)
    assert not list(path.rglob(".*"))


# broken checkpoints ---------------------------------------------------------------------------------------


def test_a_broken_newest_checkpoint_falls_back(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(path)
    whole = weights(path)
    damage(path, 6)
    with Run.start(path, TINY) as run:
        assert run.game.step == 4 and logged(path) == [1, 2, 3, 4]
        assert (
            "falling back to the checkpoint of step 4" in run.notes[0]
            and "000006/D.safetensors" in run.notes[0]
        )
        fell = events(path)[-2]
        assert fell["event"] == "fell_back" and fell["step"] == 4 and "000006" in fell["cause"]
        list(run.play())
    assert weights(path) == whole and kept(path) == [2, 4, 6]


def test_stopping_after_a_fall_keeps_what_is_good(tmp_path: Path) -> None:
    """With keep = 1, the broken checkpoint of a later step must not push out the good one of an earlier."""
    path = tmp_path / "run"
    recipe = replace(TINY, keep=1)
    train(path, replace(TINY, keep=3))
    damage(path, 6)
    train(path, recipe, stop_after=0)
    with Run.start(path, recipe) as run:
        assert run.game.step == 6


def test_stopping_before_the_broken_one_is_reached(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(path, replace(TINY, steps=9, checkpoint_every=3))
    damage(path, 9)
    recipe = replace(TINY, steps=9, checkpoint_every=100, keep=1)
    with Run.start(path, recipe) as run:
        play = run.play()
        next(play)
        run.stop("test")
        list(play)
        assert run.saved == 8
    damaged = path / "checkpoints/000009"
    assert damaged.exists() and set(checkpoints.steps(path / "checkpoints")) == {
        8,
        9,
        run.best.step if run.best else 8,
    }
    with Run.start(path, recipe) as run:
        assert run.game.step == 8


@pytest.mark.parametrize(
    "ruin", [lambda p: damage(p.parents[1], int(p.name)), shutil.rmtree, lambda p: (p / "state.pt").unlink()]
)
def test_all_broken_is_one_line_and_nothing_is_deleted(tmp_path: Path, ruin: Callable[[Path], None]) -> None:
    path = tmp_path / "run"
    train(path)
    for folder in (path / "checkpoints").iterdir():
        ruin(folder)
        folder.mkdir(exist_ok=True)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    said = failed(path)
    assert "none of the 3 checkpoints" in said and "begin anew" in said and "000006" in said
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    with refused("3", by=RunError):
        Run.open(path)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    wide = replace(TINY, G={**SMALL, "width": 9})
    train(tmp_path / "wide", wide)
    train(tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints/000006")
    shutil.copytree(tmp_path / "wide/checkpoints/000006", tmp_path / "run/checkpoints/000006")
    assert Run.open(tmp_path / "run").game.step == 4
    for step in (2, 4):
        shutil.rmtree(tmp_path / f"run/checkpoints/{step:06d}")
    assert "not of this recipe's game" in failed(tmp_path / "run")
    with pytest.raises(RunError):
        Run.open(tmp_path / "run")


def test_a_pickle_with_code_in_it_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(path)
    folder = path / "checkpoints/000006"
    torch.save({"step": 6, "G": Path("/"), "D": Recipe()}, folder / "state.pt")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["state.pt"] = hashlib.sha256((folder / "state.pt").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "refused" in train(path)[0]
    assert Run.open(path).game.step == 6 and kept(path) == [2, 4, 6]


# not finite -----------------------------------------------------------------------------------------------


def poisoned(**options: Any) -> Recipe:
    return replace(
        TINY, data={"name": "parts_of_test_runs:Poisoned", **options}, checkpoint_every=2, steps=20
    )


@pytest.mark.parametrize("log_every", [1, 7, 100])
def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(tmp_path: Path, log_every: int) -> None:
    path = tmp_path / "run"
    said = failed(path, replace(poisoned(step=4), log_every=log_every))
    assert said.startswith("step 5: d_loss is nan") and "last good checkpoint is of step 4" in said
    assert kept(path) == [0, 2, 4]
    assert events(path)[-1] | {"time": 0} == {
        "event": "fault",
        "time": 0,
        "name": "non-finite",
        "step": 5,
        "term": "d_loss",
    }
    for line in (path / "metrics.jsonl").read_text().splitlines():
        assert all(math.isfinite(v) for _, v in recipes.leaves(json.loads(line)))
    assert failed(path, replace(poisoned(step=4), log_every=log_every)).startswith("step 5: d_loss is nan")
    train(path, replace(poisoned(step=10**6), log_every=log_every), override=True)
    assert kept(path) == [16, 18, 20]


def test_a_penalty_that_is_not_finite_is_named(tmp_path: Path) -> None:
    weight = {"name": "ramp", "start": 1.0, "end": 1e300, "steps": 3, "shape": "geometric"}
    said = failed(tmp_path / "run", replace(TINY, penalties=({"name": "r1", "weight": weight},)))
    assert said.startswith("step 2: r1 is ") and events(tmp_path / "run")[-1]["term"] == "r1"


def test_a_weight_that_is_not_finite_is_named_and_not_saved(tmp_path: Path) -> None:
    """The losses of the turn are finite: only then were the weights thrown away."""
    parts = {"g_optimizer": "parts_of_test_runs:huge", "objective": "parts_of_test_runs:steep"}
    said = failed(tmp_path / "run", replace(TINY, checkpoint_every=1, **parts))
    assert said.startswith("step 1: G.network.") and "is not finite" in said and "of step 0" in said
    assert kept(tmp_path / "run") == [0]
    assert events(tmp_path / "run")[-1]["name"] == "non-finite"


@pytest.mark.parametrize(
    ("error", "said"), [("OSError", "the data are gone"), ("KeyError", "KeyError: 'lost")]
)
def test_an_error_inside_a_turn_is_one_line_with_its_traceback_kept(
    error: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    message = failed(path, poisoned(step=5, error=error))
    assert (
        message.startswith("step 6: ") and said in message and "last good checkpoint is of step 4" in message
    )
    assert "cannot write" not in message
    fault = events(path)[-1]
    assert fault["event"] == "fault" and fault["step"] == 6 and fault["name"] == error
    assert "parts_of_test_runs.py" in fault["traceback"] and kept(path) == [0, 2, 4]


# the disk -------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: the nearest to a full disk that needs no privilege."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def interrupted(path: Path, recipe: Recipe, after: int, what: Callable[[], Any]) -> str:
    """Something happens to the disk after some records; the one line that comes of it."""
    with pytest.raises(RunError) as caught, Run.start(path, recipe) as run:
        for i, _ in enumerate(run.play()):
            if i + 1 == after:
                what()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_full_disk_is_one_line_and_the_older_checkpoints_stay(tmp_path: Path) -> None:
    straight = tmp_path / "straight"
    train(straight)
    for size in (0, 100, 1000, 3000):
        path = tmp_path / f"full{size}"
        with small_disk(10**9):
            said = interrupted(
                path, TINY, 3, lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))
            )
        assert f"cannot write to {path}: File too large (at step" in said, said
        assert "the last good checkpoint is of step 2" in said and "give the same command again" in said
        assert kept(path) == [0, 2]
        assert not list((path / "checkpoints").glob(".*"))
        train(path)
        assert weights(path) == weights(straight) and logged(path) == [1, 2, 3, 4, 5, 6]


def test_no_space_left_for_the_log(tmp_path: Path) -> None:
    path = tmp_path / "run"

    size = 0

    def fill() -> None:
        nonlocal size
        size = (path / "metrics.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, -1))

    with small_disk(10**9):
        said = interrupted(path, replace(TINY, checkpoint_every=100), 3, fill)
    assert "File too large (at step 4" in said
    assert (path / "metrics.jsonl").stat().st_size == size, "no part of a line is left"
    assert kept(path) == [0]


def test_a_directory_that_vanishes_is_not_made_again(tmp_path: Path) -> None:
    for recipe in (
        TINY,
        replace(TINY, log_every=3),
        replace(TINY, log_every=3, sample_every=4, checkpoint_every=5),
    ):
        said = interrupted(tmp_path / "run", recipe, 1, lambda: shutil.rmtree(tmp_path / "run"))
        assert f"cannot write to {tmp_path / 'run'}: No such file or directory" in said
        assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    """A file stands where the folder was: the refusal that root cannot overrule."""
    path = tmp_path / "run"

    def block() -> None:
        (path / "checkpoints").rename(tmp_path / "safe")
        (path / "checkpoints").write_bytes(b"")

    assert "cannot write to" in interrupted(path, TINY, 3, block)
    (path / "checkpoints").unlink()
    (tmp_path / "safe").rename(path / "checkpoints")
    train(path)
    assert kept(path) == [2, 4, 6]


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/zerosum/run", "/dev/null/run"])
def test_a_place_that_cannot_be_written_to(out: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "cannot write to" in failed(tmp_path / out)


# look -----------------------------------------------------------------------------------------------------


def test_open_needs_neither_the_data_nor_the_device_of_the_training(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(path)
    tree = yaml.safe_load((path / "recipe.yaml").read_text())
    (path / "recipe.yaml").write_text(
        yaml.safe_dump({**tree, "data": {"name": "idx_folder", "path": "/gone"}, "device": "cuda:7"})
    )
    run = Run.open(path)
    assert run.source is None and run.data.shape == (2,) and Generator.of(run).sample(3).shape == (3, 2)
    assert run.draw(50).size == (640, 640)


def test_open_by_step_and_past_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(path)
    assert [Run.open(path, step).game.step for step in (2, 4, 6)] == [2, 4, 6]
    with refused("5", "2", "4", "6", by=RunError):
        Run.open(path, 5)
    damage(path, 6)
    run = Run.open(path)
    assert run.game.step == 4 and "falling back" in run.notes[0]
    with refused(by=RunError):
        Run.open(path, 6)


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with refused(by=RunError):
            Run.open(path)
    (tmp_path / "recipe.yaml").write_text(recipes.dump(TINY))
    with refused(by=RunError):
        Run.open(tmp_path)


@pytest.mark.parametrize(
    ("data", "shape", "dtype"),
    [
        ("ring", (2,), np.float32),
        ({"name": "gaussian", "dim": 5}, (5,), np.float32),
        ("digits", (8, 8), np.uint8),
        ("parts_of_test_runs:Colour", (2, 5, 3), np.uint8),
        ("parts_of_test_runs:Many", (2, 5, 6), np.uint8),
        ("parts_of_test_runs:Table", (4, 3), np.float32),
    ],
    ids=str,
)
def test_samples_have_the_form_that_users_keep(
    data: Any, shape: tuple[int, ...], dtype: Any, tmp_path: Path
) -> None:
    recipe = replace(TINY, data=data, steps=2, G={**SMALL, "output": "Sigmoid"})
    train(tmp_path / "run", recipe)  # which draws a picture of whatever it is
    run = Run.open(tmp_path / "run")
    G = Generator.of(run)
    x = G.sample(7)
    assert x.shape == (7, *shape) and x.dtype == dtype
    assert np.array_equal(x, G.sample(7)) and not np.array_equal(x, G.sample(7, seed=1))
    assert not np.array_equal(x[:3], x[3:6]), "every part has noise of its own"
    assert isinstance(run.draw(5), Image.Image)
    raw = run.game.sample(7, chunk=3).numpy()
    if dtype == np.float32:
        np.testing.assert_allclose(x, raw, rtol=1e-5)  # parts of another size: the last bits
    else:
        codec = run.data.codec
        low, high = codec.low, codec.high
        wanted = (
            np.clip(np.round((raw - low) / (high - low) * 255), 0, 255).transpose(0, 2, 3, 1).reshape(x.shape)
        )
        assert np.abs(x.astype(float) - wanted).max() <= 1


def test_live_weights_differ_from_their_average(tmp_path: Path) -> None:
    train(tmp_path / "run", replace(TINY, steps=6, g_optimizer=ADAM))
    run = Run.open(tmp_path / "run")
    average, live = (Generator.of(run, live).sample(5) for live in (False, True))
    assert not np.array_equal(average, live)
    z = run.game.noise(5)
    network = run.game.G.network.eval()
    with torch.no_grad():
        assert np.array_equal(live, network(z).numpy())


def test_two_dozen_images_are_enough_to_begin(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for i in range(24):
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"{i}.png")
    data = {"name": "image_folder", "path": str(tmp_path)}
    recipe = recipes.load("digits", {"data": data, "steps": 4, "log_every": 4, "batch": 8})
    with Run.start(tmp_path / "run", recipe) as run:
        *_, record = run.play()
    assert record["step"] == 4 and "coverage" in {name for i in run.watch for name in i.gives}


def test_a_folder_that_has_changed_is_refused_until_it_is_wanted_so(tmp_path: Path) -> None:
    folder, draw = tmp_path / "images", np.random.default_rng(0)
    folder.mkdir()

    def add(name: str) -> None:
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / name)

    for i in range(24):
        add(f"{i}.png")
    recipe = recipes.load("digits", {"data": {"name": "image_folder", "path": str(folder)}, "batch": 8})
    path = tmp_path / "run"
    train(path, recipes.changed(recipe, {"steps": 2}))
    add("one-more.png")
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    assert "--override" in failed(path, recipes.changed(recipe, {"steps": 4}))
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    assert any(
        "the data are not those" in note
        for note in train(path, recipes.changed(recipe, {"steps": 4}), override=True)
    )
    assert "data_changed" in {event["event"] for event in events(path)}
    assert not any("warning" in note for note in train(path, recipes.changed(recipe, {"steps": 6})))


@pytest.mark.parametrize("name", ["x.csv", "x.npy"])
def test_a_file_that_has_changed_is_refused(name: str, tmp_path: Path) -> None:
    def write(scale: float) -> None:
        rows = np.random.default_rng(0).normal(size=(40, 2)) * (1, scale)
        np.save(tmp_path / name, rows) if name.endswith("npy") else np.savetxt(
            tmp_path / name, rows, delimiter=",", header="a,b", comments=""
        )

    write(1)
    data, small = {"name": "file", "path": str(tmp_path / name)}, {"name": "mlp", "width": 4, "depth": 1}
    recipe = recipes.changed(TINY, {"data": data, "G": small, "D": small, "steps": 2})
    train(tmp_path / "run", recipe)
    write(1000)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert "--override" in failed(tmp_path / "run", recipes.changed(recipe, {"steps": 4}))
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before
