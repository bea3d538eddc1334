"""What a run has logged arrives at a tracker, whole, by the tracker's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerosum.cli import main
from zerosum.run.log import Log


@pytest.mark.parametrize("times", [1, 2])
def test_tensorboard_finds_every_scalar_and_picture(times: int, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    small = "--steps 6 --batch 16 --G.width 8 --D.width 8 --log_every 2 --sample_every 3 --threads 1 --quiet"
    assert main(["train", "digits", "--out", str(run), *small.split()]) == 0
    for _ in range(times):
        assert main(["log", str(run), "--to", "tensorboard", "--quiet"]) == 0
    read = EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    records = Log(run).records()
    assert records
    for record in records:
        for name, value in record.items():
            if name in ("step", "intervals") or not isinstance(value, int | float):
                continue
            points = {point.step: point.value for point in read.Scalars(name)}
            assert points[record["step"]] == pytest.approx(value, rel=1e-5), name
    assert [image.step for image in read.Images("samples")] == sorted(Log(run).pictures())
    assert any("recipe" in tag for tag in read.Tags()["tensors"])


def test_what_is_no_run_and_a_tracker_that_is_not_there_are_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["log", str(tmp_path), "--to", "tensorboard"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
