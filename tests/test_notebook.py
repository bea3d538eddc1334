"""A figure that follows a game in a notebook, and objects that show themselves there."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zerosum import Game, data, metrics, networks, objectives, penalties
from zerosum import recipe as recipes
from zerosum.notebook import live
from zerosum.run.run import Run
from zerosum.text import facts_html


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What a notebook was asked: ("display" or "update", HTML). The calls are IPython's, as documented."""
    calls: list[tuple[str, str]] = []

    class Handle:
        def update(self, obj: dict[str, str], **kwargs: Any) -> None:
            assert kwargs == {"raw": True}
            calls.append(("update", obj["text/html"]))

    def display(*objs: dict[str, str], raw: bool = False, display_id: Any = None) -> Handle:
        assert raw and display_id is True and len(objs) == 1
        calls.append(("display", objs[0]["text/html"]))
        return Handle()

    package, module = ModuleType("IPython"), ModuleType("IPython.display")
    package.get_ipython = lambda: object()  # pyright: ignore[reportAttributeAccessIssue]
    module.display = display  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return calls


def small(shape: tuple[int, ...], **settings: Any) -> Game:
    G, D = networks.mlp((4,), shape, width=8), networks.mlp(shape, (), width=8)
    return Game(G, D, objectives.nonsaturating(), [penalties.r1()], latent=4, batch=8, **settings)


@pytest.mark.parametrize("what", ["ring", "digits"])
def test_one_figure_follows_a_game_in_place(what: str, shown: list[tuple[str, str]]) -> None:
    source = getattr(data, what)()
    game, again = small(source.shape), small(source.shape)
    again.load_state_dict(game.state_dict())
    turns = list(live(game, source, steps=5, every=0.0))
    assert [turn.step for turn in turns] == [0, 1, 2, 3, 4]
    assert [kind for kind, _ in shown] == ["display"] + ["update"] * 5
    first, last = shown[0][1], shown[-1][1]
    assert "turn 1 of 5" in first and "turn 5 of 5" in last
    assert "data:image/png;base64," in last and "the equilibrium" in last and last.count("<figure") == 4
    for a, b in zip(turns, again.play(source, 5), strict=True):  # looking on changes nothing
        assert a.d_loss == b.d_loss and a.g_loss == b.g_loss


def test_a_loop_that_is_left_shows_where_it_was_left(shown: list[tuple[str, str]]) -> None:
    for turn in live(small((2,)), data.ring(), steps=100, every=3600.0):
        if turn.step == 2:
            break
    assert [kind for kind, _ in shown] == ["display", "update"] and "turn 3 of 100" in shown[-1][1]


def test_a_run_is_followed_with_its_state(shown: list[tuple[str, str]], tmp_path: Path) -> None:
    fields = {"steps": 4, "log_every": 2, "G.width": 8, "D.width": 8, "batch": 8}
    with Run.start(tmp_path / "run", recipes.load("ring", fields)) as run:
        records = list(live(run, every=0.0))
    assert [record["step"] for record in records] == [2, 4]
    assert len(shown) == 3 and "turn 4 of 4" in shown[-1][1]
    html = run._repr_html_()
    assert "state" in html and "data:image/png" in html and "ring" in repr(run)


def test_without_a_notebook_the_turns_are_played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert len(list(live(small((2,)), data.ring(), steps=3))) == 3


def test_objects_show_themselves() -> None:
    estimate = metrics.mode_coverage(data.ring().batch(0, 500)[0], data.ring().modes, data.ring().std)
    cases: list[tuple[Any, tuple[str, str]]] = [
        (small((2,)), ("nonsaturating", "parameters")),
        (estimate, ("mode coverage: 8", "points")),
        (recipes.load("ring", {"steps": 77}), ("77", "relativistic_pairing")),
    ]
    for thing, words in cases:
        html = thing._repr_html_()
        assert html.startswith("<p><b>") and html.endswith("</table>")
        assert all(word in html for word in words), html
    assert "<script>" not in facts_html("<script>", {"<script>": "<script>"})
