"""Recorded games: the pages of `zerosum watch` as files that open from a disk or any static host.

Each is one file, from the same template, style and scripts; what the server would have told is written into
it. Nothing is asked of a network, and the only scripts are the package's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from markupsafe import Markup

from zerosum.page import address, film, live, samples, tour
from zerosum.page.address import Place
from zerosum.page.document import fill, inlined
from zerosum.page.film import Film
from zerosum.recipe import Recipe
from zerosum.run import files
from zerosum.run.changes import Change

__all__ = ["write_game", "write_runs", "write_tour"]

SCRIPTS = ("vendor/uplot/uPlot.iife.min.js", "live.js", "board.js")
STYLES = ("vendor/uplot/uPlot.min.css", "page.css", "live.css")


def write_runs(folder: Path, paths: Sequence[Path]) -> Path:
    """Runs as they stand, with the games of those checkpoints that they keep; the file."""
    return _write(folder / "index.html", paths, [film.of_checkpoints(path) for path in paths])


def write_game(folder: Path, recipe: Recipe, run: Path, changes: Sequence[Change] = ()) -> Path:
    """A game played to its end in `run`, changed as it was; the file."""
    return _write(folder / "index.html", [run], [film.played(run, recipe, changes)])


def write_tour(folder: Path, turns: int | None = None) -> Path:
    """The tour, each stop with all that it lets one try; the first file. turns: fewer than a stop's own."""
    links = {name: "index.html" if i == 0 else f"{name}.html" for i, name in enumerate(tour.STOPS)}
    for name, stop in tour.STOPS.items():
        most = min(turns or stop.turns, stop.turns)
        recipe = replace(tour.load(name), steps=most)
        with TemporaryDirectory() as kept:
            ways = [("as it begins", {}), *stop.tries]
            paths = [Path(kept, text) for text, _ in ways]
            at = max(1, stop.at * most // stop.turns)
            steered = [[Change(at, fields)] if fields else [] for _, fields in ways]
            again = [address.command(Place(name, {}, changes, most)) for changes in steered]
            films = [film.played(path, recipe, changes) for path, changes in zip(paths, steered, strict=True)]
            _write(folder / links[name], paths, films, stop=name, links=links, again=again)
    return folder / "index.html"


def _write(
    file: Path, paths: Sequence[Path], films: Sequence[Film], again: Sequence[str] = (), **context: Any
) -> Path:
    hub = live.Hub(paths)
    hub.read()
    messages, pictures = hub.news({}), dict[str, str]()
    for message in (one for one in messages if one["type"] == "standing"):
        run = message["run"]
        shown = samples.thinned([(step, image) for step, image in _pictures(hub, run)])
        message["pictures"] = [step for step, _ in shown]
        pictures |= {f"picture/{run}/{step}.png": image.uri for step, image in shown}
        if (real := hub.real(run)) and (image := samples.png(real)):
            pictures[f"real/{run}.png"] = image.uri
        message["again"] = again[run] if again else message.get("again", "")
    recorded = {
        "messages": messages,
        "pictures": pictures,
        "films": [film.differences(one) for one in films],
    }
    page = fill(
        "live.html",
        names=[run.name for run in hub.runs],
        shown=[True for _ in hub.runs],
        title=tour.STOPS[context["stop"]].title if context.get("stop") else live.titled(hub.runs),
        game=None,
        board=any(films),
        recorded=Markup(json.dumps(recorded, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")),
        stops=tour.STOPS,
        **{"stop": None, "links": {}, **context},
        **inlined(STYLES, SCRIPTS if any(films) else SCRIPTS[:2]),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write(file, page.encode())
    return file


def _pictures(hub: live.Hub, run: int) -> Iterator[tuple[int, samples.Image]]:
    for step in hub.runs[run].standing["pictures"]:
        data = hub.picture(run, step)
        image = samples.png(data) if data else None
        if image is not None:
            yield step, image
