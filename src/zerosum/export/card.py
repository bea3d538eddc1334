"""What goes with an exported generator: the model card, and a script that samples without this package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from zerosum import __version__
from zerosum.game.prior import NARROW
from zerosum.recipe.components import name_of
from zerosum.sampling import Generator
from zerosum.text import printable

__all__ = ["card", "script"]


def _template(name: str) -> Any:
    loader = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True).get_template(
        name
    )


def script(G: Generator) -> str:
    """sample.py: the generator with onnxruntime and numpy alone."""
    size = f"({', '.join(['n', *map(str, G.latent)])})"
    std = NARROW if isinstance(G.prior_name, str) else G.prior_name.get("std", NARROW)
    normal = f"standard_normal({size}, dtype=np.float32)"
    draws = {
        "normal": normal,
        "uniform": f"uniform(-(3**0.5), 3**0.5, {size}).astype(np.float32)",
        "mixture": f"choice(np.float32([-1, 1]), {size}) * {(1 - std**2) ** 0.5} + {std} * rng.{normal}",
    }
    own = normal + "  # the model has a prior of its own: put it here"
    state = G.codec.state_dict()
    return _template("sample.py.jinja").render(
        draw=draws.get(name_of(G.prior_name), own),
        shares=[round(share, 6) for share in G.shares],
        kind=state["codec"],
        low=state.get("low"),
        high=state.get("high"),
    )


def card(G: Generator, onnx: bool, license: str) -> str:
    """The model card in Markdown, with the header that hubs read."""
    kind, step = G.codec.state_dict()["codec"], G.about.get("step")
    tags = {"pixels": "image-generation", "columns": "tabular"}
    return _template("card.md.jinja").render(
        license=license,
        tag=tags.get(kind, "generative"),
        name=printable(G.about.get("recipe", "generator")),
        version=__version__,
        latent=list(G.latent),
        shape=list(G.shape),
        kind=kind,
        weights=f"{sum(p.numel() for p in G.network.parameters()):,}",
        step="" if step is None else f", of turn {step:,}",
        classes=[printable(name) for name in G.classes[:50]],
        onnx=onnx,
        data=printable(G.about.get("data", "not said")),
        fingerprint=G.data.fingerprint,
        recipe=str(G.about.get("recipe_text", "")).rstrip(),
        rows=[_figures(row) for row in G.about.get("evaluation", [])],
    )


def _figures(row: Mapping[str, Any]) -> dict[str, str]:
    floor = row.get("floor") or {}
    return {
        "metric": printable(row["metric"]),
        "value": f"{row['value']:.4g}",
        "interval": f"[{row['low']:.4g}, {row['high']:.4g}]",
        "real": f"{floor['value']:.4g}" if "value" in floor else "",
        "space": printable(row.get("space", "")),
    }
