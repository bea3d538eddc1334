"""Parts of a turn as machine code, by `torch.compile`, penalties' second derivatives included."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch

__all__ = ["compiled"]


def compiled(*parts: FunctionType) -> list[Callable[..., Any]]:
    """The same functions, compiled when they are first called; with one warning as they are if one fails."""
    works = True

    def compiled(part: FunctionType) -> Callable[..., Any]:
        code: Callable[..., Any] | None = None
        # the compiler counts recompilations by code object: each game has its own
        own = FunctionType(part.__code__.replace(), part.__globals__, part.__name__, part.__defaults__)

        def play(*args: Any) -> Any:
            nonlocal works, code
            if works:
                try:
                    code = code or torch.compile(own, fullgraph=True, options={"fallback_random": True})
                    with torch._dynamo.config.patch(trace_autograd_ops=True):
                        return code(*args)
                except Exception as error:  # whatever the compiler cannot do
                    works = False
                    line = " ".join(str(error).split())[:150]
                    warnings.warn(f"the game goes on uncompiled: {line}", stacklevel=2)
            return part(*args)

        return play

    return [compiled(part) for part in parts]
