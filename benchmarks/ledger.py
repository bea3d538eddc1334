"""What benchmarks commit: a result as JSON, written whole or not at all, and the machine that it is from."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from zerosum import __version__
from zerosum.run import checkpoints

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
        "torch": torch.__version__,
        "zerosum": __version__,
        "bf16": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    }


def read(path: Path, otherwise: dict[str, Any] | None = None) -> Any:
    """The result as it stands, and `otherwise` before there is one. Raises FileNotFoundError without it."""
    return json.loads(path.read_text()) if otherwise is None or path.exists() else otherwise


def write(path: Path, result: Any, indent: int | None = 1) -> None:
    checkpoints.write(path, (json.dumps(result, indent=indent) + "\n").encode())
