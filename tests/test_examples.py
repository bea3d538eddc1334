"""The examples run as they stand, and come to what they promise."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_half_a_digit_gives_the_other_half_better_than_their_mean() -> None:
    """Paired translation: y is an image, G has an L1 penalty; at most 45 lines."""
    script = EXAMPLES / "halves.py"
    assert len(script.read_text().splitlines()) <= 45
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr
    mean, *made = map(float, re.findall(r"0\.\d+", run.stdout))
    assert made[-1] < 0.75 * mean


NOTEBOOKS = {  # what each leaves where it was run
    "ten_lines": ["ten_lines.png"],
    "photos": ["photos.png", "runs/photos/recipe.yaml"],
    "table": ["wines.csv", "wines/model.pt"],
    "paper_2014": [],
}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_in_short_form(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEPS", "1")
    runpy.run_path(str(EXAMPLES / f"{name}.py"))
    for left in NOTEBOOKS[name]:
        assert (tmp_path / left).stat().st_size > 0, left


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_a_percent_script(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()
    assert re.match(r"# %% \[markdown\]\n# # \S", text)  # its first cell is its title
    cells = re.split(r"^# %%.*\n", text, flags=re.MULTILINE)[1:]
    assert len(cells) >= 6 and all(cell.strip() for cell in cells)
