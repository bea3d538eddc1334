"""A game in a notebook: the loop stays yours, and below the cell a figure follows it.

    from zerosum.notebook import live

    for turn in live(game, ring, steps=3000):       # the turns of `Game.play`
        ...
    for record in live(run):                        # the records of `Run.play`
        ...

The figure is HTML that IPython updates in place, without widgets; outside of a notebook nothing is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from markupsafe import Markup

from zerosum.data import source as as_source
from zerosum.game import Game
from zerosum.page import samples
from zerosum.page.curves import charts, words
from zerosum.page.document import fill, static
from zerosum.page.figure import Figure
from zerosum.run.datacard import DataCard
from zerosum.run.session import numbers_of
from zerosum.sampling import Generator, Sampler
from zerosum.text import printable

if TYPE_CHECKING:
    from zerosum.game import Turn
    from zerosum.run.run import Run

__all__ = ["live"]

_POINTS = 300  # of a curve
_CHARTS = 4


@overload
def live(playing: Game, source: Any, steps: int, *, every: float = 1.0) -> Iterator[Turn]: ...
@overload
def live(playing: Run, *, every: float = 1.0) -> Iterator[dict[str, Any]]: ...
def live(playing: Game | Run, source: Any = None, steps: int = 0, *, every: float = 1.0) -> Iterator[Any]:
    """What `playing` gives when it is played, a game's turns or a run's records, while a figure in the
    notebook shows samples, D(x) and D(G(z)), V and the losses beside where they rest.

    source, steps: what `Game.play` takes. every: seconds between two updates of the figure, at least.
    """
    show = _shower(every)
    if isinstance(playing, Game):
        yield from _of_game(playing, as_source(source), steps, show)
    else:
        yield from _of_run(playing, show)


Show = Callable[[Callable[[], str], bool], None]


def _of_game(game: Game, source: Any, steps: int, show: Show) -> Iterator[Turn]:
    records: list[dict[str, Any]] = []
    rhythm, end = max(1, steps // _POINTS), game.step + steps

    def drawn() -> str:
        return _html(f"turn {game.step:,} of {end:,}", records, {}, game, _picture(game, source))

    try:
        for i, turn in enumerate(game.play(source, steps)):
            if i % rhythm == 0 or i == steps - 1:
                records.append({"step": turn.step + 1, **numbers_of(turn, game)})
                show(drawn, False)
            yield turn
    finally:
        show(drawn, True)


def _of_run(run: Run, show: Show) -> Iterator[dict[str, Any]]:
    scales = run.about_game()["scales"]

    def drawn() -> str:
        state = f": {run.findings[0].name}" if run.findings else ""
        about = f"{printable(run.path)}, turn {run.game.step:,} of {run.recipe.turns:,}{printable(state)}"
        return _html(about, run.history, scales, run.game, run.draw())

    try:
        for record in run.play():
            show(drawn, False)
            yield record
    finally:
        show(drawn, True)


def _picture(game: Game, source: Any) -> Any:
    """A picture of samples: a grid of images, or points over real ones; None where conditions are no
    classes."""
    network = game.G.network if game.G.average is None else game.G.average
    card = DataCard.of(source)
    G = Generator(network, game.latent, game.prior, card, conditional=game.conditional, batch=game.batch)
    try:
        return Sampler.overview(G, lambda n: source.batch(0, n)[0])
    except ValueError:
        return None


def _html(
    about: str, records: Sequence[Mapping[str, Any]], scales: Mapping[str, Any], game: Game, picture: Any
) -> str:
    names = [str(penalty.name) for penalty in game.penalties]
    made = charts(records, scales, objective=game.objective, penalties=names)
    return fill(
        "notebook.html",
        style=_style(),
        about=about,
        image=None if picture is None else samples.encode(picture),
        figures=[_small(figure) for figure in (*made.quality[:2], *made.game)[:_CHARTS]],
    )


def _small(figure: Figure) -> Figure:
    title = ", ".join(words(curve.name) for curve in figure.curves)
    title = title if title[1:2] == "(" else f"{title[:1].upper()}{title[1:]}"  # a(x) is no A(x)
    return replace(figure, title=title, small=True, caption="")


def _style() -> Markup:
    """The style of our pages, for what is in our frame only: the notebook has one of its own."""
    return Markup(f".zerosum {{\n{static('page.css').replace(':root', '&')}\n}}\n{static('notebook.css')}")


def _shower(every: float) -> Show:
    """A function that draws and shows, unless it is too soon; nothing where there is no notebook."""
    try:
        from IPython import get_ipython  # pyright: ignore
        from IPython.display import display  # pyright: ignore
    except ImportError:
        return lambda drawn, now: None
    if get_ipython() is None:
        return lambda drawn, now: None
    handle: Any = None
    latest = 0.0

    def show(drawn: Callable[[], str], now: bool) -> None:
        nonlocal handle, latest
        if handle is not None and not now and time.monotonic() - latest < every:
            return
        content = {"text/html": drawn(), "text/plain": "a live figure of zerosum"}
        if handle is None:
            handle = display(content, raw=True, display_id=True)
        else:
            handle.update(content, raw=True)
        latest = time.monotonic()

    return show
