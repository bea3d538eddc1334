"""The examples run as they stand, and come to what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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
