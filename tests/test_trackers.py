"""What a run has logged arrives at a tracker, whole, by the tracker's own reader."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pages import evaluation
from zerosum import trackers
from zerosum.cli import main
from zerosum.cli.parsing import TRACKERS
from zerosum.run.log import Log

SMALL = "--steps 6 --batch 16 --G.width 8 --D.width 8 --log_every 2 --sample_every 3 --threads 1 --quiet"

# the calls of each tracker as its own documentation has them; each is written to a file of its name
CALL = """
import json
def note(name, *args):
    with open(HOME + "/calls.jsonl", "a") as file:
        print(json.dumps([name, *args], default=str), file=file)
"""
FAKES = {
    "wandb": CALL
    + """
class Image:
    def __init__(self, data_or_path, mode=None, caption=None):
        assert data_or_path.mode == "RGB"
    def __str__(self):
        return "image"
def init(entity=None, project=None, dir=None, id=None, name=None, notes=None, tags=None, config=None):
    note("init", project, name, config)
def define_metric(name, step_metric=None, step_sync=None, hidden=None, summary=None):
    note("define_metric", name, step_metric)
def log(data, step=None, commit=None):
    assert step is None, "its own count of steps only goes up"
    values = dict(data)
    note("log", values.pop("turn"), values)
def finish(exit_code=None, quiet=None):
    note("finish")
""",
    "trackio": CALL
    + """
class Image:
    def __init__(self, value, caption=None):
        assert value.mode == "RGB"
    def __str__(self):
        return "image"
def init(project, name=None, group=None, space_id=None, config=None, resume="never"):
    note("init", project, name, config)
def log(metrics, step=None):
    assert not {"step", "time", "timestamp", "run", "project"} & set(metrics)
    note("log", step, metrics)
def finish():
    note("finish")
""",
    "mlflow": CALL
    + """
def set_experiment(experiment_name=None, experiment_id=None):
    note("set_experiment", experiment_name)
def start_run(run_id=None, experiment_id=None, run_name=None, nested=False):
    note("init", "zerosum", run_name, {})
def log_dict(dictionary, artifact_file, run_id=None):
    note("log_dict", dictionary, artifact_file)
def log_metrics(metrics, step=None, synchronous=None, run_id=None):
    note("log", step, metrics)
def log_image(image, artifact_file=None, key=None, step=None):
    assert image.mode == "RGB" and artifact_file.endswith(".png")
    note("log", int(artifact_file[-10:-4]), {"samples": "image"})
def log_text(text, artifact_file, run_id=None):
    note("log", int(artifact_file[-9:-3]), {artifact_file[:-10]: text})
def end_run(status="FINISHED"):
    note("finish")
""",
}


@pytest.fixture(params=FAKES)
def fake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a tracker, whose calls are written to calls.jsonl."""
    home = tmp_path / "packages"
    home.mkdir()
    (home / f"{request.param}.py").write_text(f"HOME = {str(tmp_path)!r}\n{FAKES[request.param]}")
    monkeypatch.syspath_prepend(str(home))
    monkeypatch.delitem(sys.modules, request.param, raising=False)
    yield request.param
    sys.modules.pop(request.param, None)


def numbers(record: dict[str, Any]) -> dict[str, float]:
    return {k: v for k, v in record.items() if k != "step" and isinstance(v, int | float)}


@pytest.mark.parametrize("times", [0, 1, 2])
def test_tensorboard_finds_every_scalar_and_picture(times: int, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    live = ["--log", "tensorboard"] if times == 0 else []
    assert main(["train", "digits", "--out", str(run), *SMALL.split(), *live]) == 0
    for _ in range(times):
        assert main(["log", str(run), "--to", "tensorboard", "--quiet"]) == 0
    read = EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    records = Log(run).records()
    assert records
    for record in records:
        for name, value in numbers(record).items():
            points = {point.step: point.value for point in read.Scalars(name)}
            assert points[record["step"]] == pytest.approx(value, rel=1e-5), name
    assert [image.step for image in read.Images("samples")] == sorted(Log(run).pictures())
    assert any("recipe" in tag for tag in read.Tags()["tensors"])


def test_what_is_no_run_and_a_tracker_that_is_not_there_are_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["log", str(tmp_path), "--to", "tensorboard"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_names_of_the_command_line_are_the_trackers() -> None:
    assert list(trackers.TRACKERS) == TRACKERS


def test_every_tracker_is_sent_all_of_the_log_while_it_plays(fake: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", "digits", "--out", str(run), *SMALL.split(), "--log", fake]) == 0
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    begun = next(call for call in calls if call[0] == "init")
    assert begun[1:3] == ["zerosum", "run"] and calls[-1] == ["finish"]
    logged: dict[int, dict[str, Any]] = {}
    for name, *given in calls:
        if name == "log":
            logged.setdefault(given[0], {}).update(given[1])
    log = Log(run)
    for record in log.records():
        assert numbers(record).items() <= logged[record["step"]].items()
    assert {step for step, values in logged.items() if "samples" in values} == set(log.pictures())
    assert any(name.startswith("events/finished") for name in logged[6])
    assert "latent" in json.dumps([call for call in calls if call[0] in ("init", "log_dict")])


def test_figures_that_were_not_made_alike_have_curves_of_their_own(fake: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", "digits", "--out", str(run), *SMALL.split()]) == 0
    log, under = Log(run), {"where": "sex=Female and age>60"}
    for more in (under, {}, {"average": False}, {"n": 100, "space": "inception"}, {}):
        log.add_evaluation(evaluation(6, "kernel_distance", 1.0, **{"average": True, **more}))
    assert main(["log", str(run), "--to", fake, "--quiet"]) == 0
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    names = [name for call in calls if call[0] == "log" for name in call[2] if "evaluation/" in name]
    assert names == [
        "evaluation/kernel_distance where sex Female and age 60",
        "evaluation/kernel_distance",
        "evaluation/kernel_distance average False",
        "evaluation/kernel_distance space inception n 100",
        "evaluation/kernel_distance",
    ]


@pytest.mark.parametrize("call", [("def init", "def start_run"), ("def log",), ("def finish", "def end_run")])
def test_a_tracker_that_fails_does_not_end_the_run(
    fake: str, call: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = tmp_path / "packages" / f"{fake}.py"
    lines = module.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(call))
    lines.insert(at + 1, "    raise SystemExit('no connection')")
    module.write_text("\n".join(lines))
    run = tmp_path / "run"
    assert main(["train", "ring", "--out", str(run), *SMALL.split(), "--log", fake]) == 0
    told = capsys.readouterr().err
    assert told.count(f"{fake} failed") == 1 and "no connection" in told and told.count("\n") == 1
    assert Log(run).events()[-1]["event"] == "finished"


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_a_tracker_that_is_not_installed_is_said_before_the_first_turn(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    run = tmp_path / "run"
    assert main(["train", "ring", "--out", str(run), *SMALL.split(), "--log", name]) == 1
    assert f"pip install {name}" in capsys.readouterr().err and not run.exists()
