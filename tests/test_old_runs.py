"""Runs of ee8671b are taken up, sampled, judged, diagnosed and reported; later formats are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from refusals import refused
from zerosum import cli
from zerosum.recipe import load
from zerosum.run import checkpoints
from zerosum.run.log import FORMAT, Log, RunError
from zerosum.run.run import Run

OLD = Path(__file__).parent / "fixtures" / "runs_ee8671b"
NAMES = ["images", "conditional", "table", "ring"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all, and the working directory: the recipe of the table has a relative path."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def drawn(path: Path) -> np.ndarray:
    return np.loadtxt(path, delimiter=",", skiprows=1) if path.suffix == ".csv" else np.load(path)


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_those_that_the_old_code_drew(name: str, place: Path) -> None:
    (old,) = (OLD / "drawn").glob(f"{name}.*")
    out = place / f"new{old.suffix}"
    classes = ["--class", "3,7"] if name == "conditional" else []
    assert cli.main(["sample", name, "--n", "8", "--quiet", "--out", str(out), *classes]) == 0
    new, before = drawn(out), drawn(old)
    assert new.shape == before.shape and new.dtype == before.dtype
    level = 1 if before.dtype == np.uint8 else 1e-4
    level = 1 if before.dtype == np.uint8 else 1e-4
    np.testing.assert_allclose(new.astype(float), before.astype(float), rtol=1e-4, atol=level)


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_takes_an_old_run(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diagnose", name]) == 0
    assert cli.main(["report", name, "--quiet"]) == 0
    assert (place / name / "report.html").stat().st_size > 10_000
    metrics = {"table": []}.get(name, ["--metrics", "prdc"])
    assert cli.main(["evaluate", name, "--n", "100", "--quiet", "--features", "pixels", *metrics]) == 0
    assert Log(place / name).evaluations()[0]["step"] == 20
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_an_old_run_goes_on(name: str, place: Path) -> None:
    words = ["train", f"{name}/recipe.yaml", "--out", name, "--quiet"]
    assert cli.main([*words, "--steps", "30"]) == 0
    log = Log(place / name)
    assert log.records()[-1]["step"] == 30
    events = log.events()
    assert [event["event"] for event in events][::3] == ["started", "finished"]
    assert [event.get("format", 1) for event in events if "judged" in event] == [1, FORMAT]
    assert checkpoints.load(place / name / "checkpoints/000030").recipe, "a new one knows its recipe"


@pytest.mark.parametrize("name", ["images", "ring"])
def test_going_on_from_an_older_checkpoint_comes_to_the_same_newest(name: str, place: Path) -> None:
    """ee8671b wrote step 20 when it played on from step 10; exact on one machine, near on another."""
    shutil.rmtree(place / name / "checkpoints/000020")
    with Run.start(name, load(f"{name}/recipe.yaml")) as run:
        assert run.game.step == 10
        for _ in run.play():
            pass
    for part in ("G", "D", "ema"):
        file = f"{name}/checkpoints/000020/{part}.safetensors"
        old, new = load_file(OLD / file), load_file(place / file)
        for weight, value in old.items():
            torch.testing.assert_close(new[weight], value, rtol=1e-4, atol=1e-5)


def test_an_old_directory_of_seeds_goes_on(place: Path) -> None:
    words = ["train", "seeds/seed0/recipe.yaml", "--seeds", "2", "--out", "seeds", "--quiet"]
    assert cli.main([*words, "--steps", "30"]) == 0
    assert [Log(place / f"seeds/seed{seed}").records()[-1]["step"] for seed in (0, 1)] == [30, 30]
    assert json.loads((place / "seeds/seeds.json").read_text())["step"] == 30


@pytest.mark.parametrize("where", ["events.jsonl", "checkpoints/000020/manifest.json"])
def test_a_format_of_the_future_is_refused_and_left_alone(where: str, place: Path) -> None:
    words = ["train", "ring/recipe.yaml", "--out", "ring", "--quiet", "--steps", "30"]
    file = place / "ring" / where
    if where.endswith("jsonl"):
        begun = json.loads(file.read_text().splitlines()[0])
        file.write_text(json.dumps({**begun, "format": FORMAT + 1}) + "\n")
    else:
        file.write_text(json.dumps({**json.loads(file.read_text()), "format": FORMAT + 1}))
    before = {p: p.read_bytes() for p in (place / "ring").rglob("*") if p.is_file()}
    for command in (words, ["sample", "ring", "--out", "x.png"]):
        assert cli.main(command) == 1
    with refused(FORMAT + 1, by=RunError):
        Run.open("ring")
    assert {p: p.read_bytes() for p in (place / "ring").rglob("*") if p.is_file()} == before
