"""A reading takes no more memory than a turn of the game."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

GIB = 2**30
PLAY = """
import resource, sys
from pathlib import Path
from zerosum import recipe as recipes
from zerosum.run.run import Run
from zerosum.watch import instruments
folder, limit, side, watch = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
data = {"name": "image_folder", "path": folder, "size": int(side)}
changes = {"data": data, "steps": 1, "watch": watch, "threads": 1}
with Run.start(Path(folder) / "run", recipes.load("photos", changes)) as run:
    records = list(run.play())
    if watch == "thorough":  # and what it reads seldom, now, with a short search
        held, turn = run.source.batch(0, 256)[0], next(run.game.play(run.source, 1))
        rare = instruments.duality_gap(run.game, run.source, held, steps=1), instruments.referee(held)
        assert all(i(run.game, turn) for i in rare)
read = {"coverage", "overfit_ratio", "d_gradient"} | ({"divergence_bound"} if watch == "thorough" else set())
assert read <= run.history[0].keys(), run.history
"""


def photographs(folder: Path, side: int, n: int) -> Path:
    """Smooth pictures of `side` pixels."""
    rng = np.random.default_rng(side)
    folder.mkdir()
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i:03d}.jpg")
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="address spaces are limited on Linux")
@pytest.mark.parametrize(("side", "watch"), [(64, "thorough"), (128, "standard")])
def test_photos_are_watched_in_four_gibibytes(tmp_path: Path, side: int, watch: str) -> None:
    """The thorough watch holds the standard one."""
    folder = photographs(tmp_path / "photos", side, 500)
    words = [sys.executable, "-c", PLAY, str(folder), str(4 * GIB), str(side), watch]
    result = subprocess.run(words, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, result.stderr[-2000:]
