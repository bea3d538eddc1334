"""The game in a page's hands: half-turns in order, changes that are events, the same bytes again."""

from __future__ import annotations

import base64
import errno
import json
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pages import Tab
from test_live import Server
from zerosum import recipe as recipes
from zerosum.cli import main
from zerosum.page import player, steering, view, watched
from zerosum.run import changes
from zerosum.run.log import Log, RunError
from zerosum.run.run import Run
from zerosum.watch.finding import Advice, Finding

SMALL = {"steps": 40, "G.width": 16, "D.width": 16, "batch": 16, "watch": "none", "checkpoint_every": 5}


def until(holds: Callable[[], bool]) -> None:
    """Wait for a thread to come to where something holds; so long that only a standstill ends it."""
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


@pytest.fixture
def game(tmp_path: Path) -> Iterator[steering.Game]:
    game = steering.Game(tmp_path / "played", recipes.load("ring", SMALL))
    game.player.start()
    until(lambda: game.player.count > 0)
    yield game
    game.player.close()


def obey(game: steering.Game, what: str, **more: Any) -> dict[str, Any]:
    """Give an order, and the frame that comes of it."""
    before = game.player.count
    game.obey(json.dumps({"do": what, **more}))
    until(lambda: game.player.count > before)
    return game.player.frame


def events(path: Path, kind: str) -> list[Any]:
    return [event for event in Log(path).events() if event["event"] == kind]


def test_half_turns_come_in_order_and_are_one_turn(game: steering.Game) -> None:
    before = game.player.frame
    first = obey(game, "half")
    assert (first["half"], first["step"]) == ("d", 1)
    assert first["fake"] == before["fake"] and first["surface"] != before["surface"]  # D has moved, G has not
    second = obey(game, "half")
    assert (second["half"], second["step"]) == ("g", 1)
    assert second["fake"] != first["fake"]
    third = obey(game, "turn")
    assert (third["half"], third["step"]) == ("g", 2)
    assert obey(game, "half")["step"] == 3
    assert obey(game, "turn")["step"] == 3  # the other half of it


def test_it_plays_pauses_and_comes_to_its_end(game: steering.Game) -> None:
    obey(game, "play")
    until(lambda: game.player.frame["mode"] == "finished")
    assert game.player.frame["step"] == 40
    assert [event["event"] for event in Log(game.player.path).events()] == ["started", "finished"]


def test_a_game_that_was_steered_plays_to_the_same_bytes_again(game: steering.Game, tmp_path: Path) -> None:
    path = game.player.path
    for _ in range(3):
        obey(game, "turn")
    obey(game, "half")
    obey(game, "change", fields={"g_optimizer.lr": 3e-4, "k": 2})
    obey(game, "half")
    obey(game, "turn")
    obey(game, "change", fields={"penalties.0.weight": 1.5, "objective": "minimax"})
    obey(game, "play")
    until(lambda: game.player.frame["mode"] == "finished")
    steered = changes.written(Log(path).events())
    assert [change.fields for change in steered] == [
        {"g_optimizer.lr": 3e-4, "k": 2}, {"penalties.0.weight": 1.5, "objective": "minimax"},
    ]  # fmt: skip
    assert [change.step for change in steered] == [4, 5]
    shown = shlex.split(watched.again(path))  # the command that the page shows
    assert shown[0] == "zerosum" and main([*shown[1:-1], str(tmp_path / "again"), "--quiet"]) == 0
    assert changes.written(Log(tmp_path / "again").events()) == steered
    for name in ("G", "D", "ema"):
        file = f"checkpoints/000040/{name}.safetensors"
        assert (tmp_path / "again" / file).read_bytes() == (path / file).read_bytes()


def test_looking_on_changes_nothing(game: steering.Game, tmp_path: Path) -> None:
    obey(game, "play")
    until(lambda: game.player.frame["mode"] == "finished")
    with Run.start(tmp_path / "alone", recipes.load("ring", SMALL)) as run:
        for _ in run.play():
            pass
    for name in ("G", "D", "ema"):
        file = f"checkpoints/000040/{name}.safetensors"
        assert (tmp_path / "alone" / file).read_bytes() == (game.player.path / file).read_bytes()


@pytest.mark.parametrize("step", [10, 12])
def test_a_fork_goes_on_from_a_step_with_one_thing_changed(
    step: int, game: steering.Game, tmp_path: Path
) -> None:
    parent = game.player.path
    for _ in range(12):
        obey(game, "turn")
    assert game.player.frame["steps"] == [0, 5, 10, 12]  # those that are kept, and this moment
    game.obey(json.dumps({"do": "fork", "step": step, "fields": {"d_optimizer.lr": 1e-5}}))
    until(lambda: game.player.path != parent and game.player.count > 0)
    assert game.player.frame["step"] == step
    kept = Log(parent).records()
    assert Log(game.player.path).records() == [record for record in kept if record["step"] <= step]
    frame = obey(game, "turn")
    assert frame["step"] == step + 1
    assert {"path": "d_optimizer.lr", "value": 1e-5} in frame["fields"]
    assert len(game.paths) == 2
    game.player.close()
    path = game.player.path  # its changes are its parent's and its own: it, too, plays again
    words = [
        *shlex.split(watched.again(path))[1:-1],
        str(tmp_path / "again"),
        "--steps",
        str(step + 1),
        "--quiet",
    ]
    assert main(words) == 0
    for name in ("G", "D", "ema"):
        file = f"checkpoints/{step + 1:06d}/{name}.safetensors"
        assert (tmp_path / "again" / file).read_bytes() == (path / file).read_bytes()


def test_drawn_points_are_data(game: steering.Game) -> None:
    points = [[0.5 * (i % 2) + 0.01 * (i % 7), 0.001 * i] for i in range(200)]
    first = game.player.path
    game.obey(json.dumps({"do": "draw", "points": points}))
    until(lambda: game.player.path != first and game.player.count > 0)
    frame = game.player.frame
    assert frame["kind"] == "plane"
    low, high = (torch.tensor(frame[end]) for end in ("low", "high"))
    x = low + torch.tensor(frame["real"]).reshape(-1, 2) / 1000 * (high - low)
    drawn = torch.tensor(points)
    drawn = (drawn - drawn.mean(0)) / drawn.std(0)  # the players see them in their own units
    assert float(torch.cdist(x, drawn).amin(1).max()) < 0.05
    assert obey(game, "turn")["step"] == 1


@pytest.mark.parametrize(
    "order",
    [
        {"do": "change", "fields": {"G.width": 32}},
        {"do": "change", "fields": {"k": "many"}},
        {"do": "change", "fields": {"objective": "kindness"}},
        {"do": "change", "fields": {"k": -1}},
    ],
    ids=str,
)  # fmt: skip
def test_a_change_that_cannot_be_is_refused_in_words(order: dict[str, Any], game: steering.Game) -> None:
    obey(game, "turn")
    obey(game, what=order["do"], fields=order["fields"])
    assert obey(game, "turn")["step"] == 2
    assert len(events(game.player.path, "refused")) == 1 and not events(game.player.path, "changed")


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "{", '{"do": 3}', '{"do": "rm"}', '{"do": "change"}',
        '{"do": "change", "fields": {}}',
        '{"do": "change", "fields": {"k": {"a": 1}}}', '{"do": "change", "fields": {"k": NaN}}',
        '{"do": "change", "fields": {"k": 1e30}}',
        '{"do": "change", "fields": {"objective": "zerosum.cli:main"}}', '{"do": "begin", "recipe": "../x"}',
        '{"do": "fork", "step": "x", "fields": {"k": 1}}',
        '{"do": "draw", "points": "x"}', '{"do": "draw", "points": [[1]]}', '{"do": ["play"]}',
        "[" * 5000, '{"do": "open", "address": 3}', '{"do": "fork", "step": 1e999, "fields": {"k": 2}}',
    ],
)  # fmt: skip
def test_what_is_no_order_does_nothing(text: str, game: steering.Game) -> None:
    path = game.player.path
    game.obey(text)
    assert obey(game, "turn")["step"] == 1
    assert game.player.path == path and len(game.paths) == 1


def test_a_fork_of_a_step_that_is_not_there_is_refused(game: steering.Game, tmp_path: Path) -> None:
    with pytest.raises(RunError):
        player.fork(game.player.path, 7, tmp_path / "fork")
    assert not (tmp_path / "fork").exists()


@pytest.mark.parametrize("playing", [False, True])
def test_a_fork_that_cannot_be_made_leaves_the_game(playing: bool, game: steering.Game) -> None:
    """Neither of a step that is not kept nor onto a disk that is full."""
    path = game.player.path
    for _ in range(6):
        obey(game, "turn")
    if playing:
        obey(game, "slow")
    game.obey(json.dumps({"do": "fork", "step": 3, "fields": {"k": 2}}))
    assert "step 3" in game.player.frame["note"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steering, "fork", full_disk)
        game.obey(json.dumps({"do": "fork", "step": 5, "fields": {"k": 2}}))
    assert "No space left" in game.player.frame["note"]
    obey(game, "pause")
    before = game.player.frame["step"]
    assert obey(game, "turn")["step"] == before + 1
    assert game.player.path == path and game.paths == [path]


def full_disk(*of: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), TypeError("y is missing"), RunError("no")], ids=repr
)
@pytest.mark.parametrize("where", ["zerosum.page.view.Points.draw", "zerosum.run.changes.wish"])
def test_whatever_ends_a_game_is_said(
    where: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*of: Any) -> Any:
        raise error

    game = steering.Game(tmp_path / "played", recipes.load("ring", SMALL))
    monkeypatch.setattr(where, fail)
    game.player.start()
    game.obey(json.dumps({"do": "change", "fields": {"k": 2}}))
    until(lambda: game.player.frame["mode"] == "ended")
    assert error.args[-1] in game.player.frame["note"]
    game.player.close()


def levels(text: str) -> torch.Tensor:
    """The bytes of a surface."""
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


# what is drawn ----------------------------------------------------------------------------------------------


def test_the_surfaces_are_d_and_the_best_d(tmp_path: Path) -> None:
    with Run.start(tmp_path / "run", recipes.load("grid", {**SMALL, "objective": "minimax"})) as run:
        drawn = view.Points(run)
        frame = drawn.draw(run.game)
        with torch.no_grad():
            logits = run.game.D.network(drawn.cells.float())
        expected = torch.sigmoid(logits.double()) * 255
        torch.testing.assert_close(levels(frame["surface"]).double(), expected, atol=0.51, rtol=0)
        mode = run.source.modes[0].double()
        nearest = int((drawn.cells - mode).norm(dim=1).argmin())
        best = levels(frame["best"])
        assert best[nearest] == best.max() or best[nearest] > 200 or best.max() < 255
        numbers = frame["numbers"]
        assert numbers["floor"] < 0.05 < numbers["jsd"] - numbers["jsd_error"] < 0.7  # G is as it was made
        assert numbers["best_value"] == pytest.approx(2 * numbers["jsd"] - math.log(4), abs=1e-3)
        assert numbers["value"] == pytest.approx(-numbers["d_loss"], rel=1e-3)
        assert numbers["slope_minimax"] == numbers["d_fake"] != numbers["slope_nonsaturating"]
        assert (numbers["modes"] <= numbers["modes_of"]) and numbers["modes_of"] == len(run.source.modes)


def test_what_takes_long_is_of_this_moment_when_the_game_stands(game: steering.Game) -> None:
    best = [obey(game, "turn")["best"] for _ in range(3)]
    assert all(best) and len(set(best)) == 3


def test_arrows_go_where_d_says_more_real(tmp_path: Path) -> None:
    with Run.start(tmp_path / "run", recipes.load("ring", {**SMALL, "objective": "nonsaturating"})) as run:
        for _ in run.play():
            pass
        drawn = view.Points(run)
        ends = torch.tensor(drawn.draw(run.game)["arrows"]).reshape(-1, 2, 2) / 1000
        x = drawn.low + ends.double() * (drawn.high - drawn.low)
        way = (x[:, 1] - x[:, 0]) * 0.1
        with torch.no_grad():
            before, after = (run.game.D.network(p.float()) for p in (x[:, 0], x[:, 0] + way))
        assert ((after > before).float().mean()) > 0.9


@pytest.mark.parametrize("name, kind", [("digits", "images"), ("ring", "plane")])
def test_every_kind_of_data_has_a_view(name: str, kind: str, tmp_path: Path) -> None:
    with Run.start(tmp_path / "run", recipes.load(name, {**SMALL, "latent": 3})) as run:
        frame = view.view(run).draw(run.game)
        assert frame["kind"] == kind
        json.dumps(frame)


def test_points_on_the_line_have_densities_and_d(tmp_path: Path) -> None:
    data = {"name": "mixture", "means": [-2.0, 2.0], "std": 0.5}
    with Run.start(tmp_path / "run", recipes.load("ring", {**SMALL, "data": data})) as run:
        frame = view.view(run).draw(run.game)
        assert frame["kind"] == "line"
        assert len(frame["p_data"]) == len(frame["p_g"]) == len(frame["surface"])
        width = (frame["high"][0] - frame["low"][0]) / (len(frame["p_data"]) - 1)
        assert sum(frame["p_data"]) * width == pytest.approx(1, abs=0.01)


def labelled(folder: Path, columns: int) -> dict[str, Any]:
    """A conditional game of points: a file of numbers, with a label in the last column."""
    names = ["x", "y"][:columns]
    rows = [",".join([*names, "kind"])]
    for i in range(120):
        rows.append(",".join([*(str(math.sin(i + j)) for j in range(columns)), "ab"[i % 2]]))
    (folder / "rows.csv").write_text("\n".join(rows))
    data = {"name": "file", "path": str(folder / "rows.csv"), "label": "kind"}
    return {**SMALL, "data": data, "conditional": True, "steps": 4, "name": "mine"}


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("objective", ["nonsaturating", "relativistic_average"])
def test_a_conditional_game_is_shown_with_its_classes(columns: int, objective: str, tmp_path: Path) -> None:
    recipe = recipes.load("ring", {**labelled(tmp_path, columns), "objective": objective})
    game = steering.Game(tmp_path / "played", recipe)
    game.player.start()
    until(lambda: game.player.count > 0)
    assert obey(game, "half")["half"] == "d"
    frame = obey(game, "half")
    game.player.close()
    assert frame["kind"] == ["line", "plane"][columns - 1] and len(frame["real"]) > columns * 100
    assert not frame["surface"] and bool(frame["arrows"]) == (columns == 2)  # a place alone has no class
    json.dumps(frame, allow_nan=False)


def test_d_is_told_the_class_of_each_point(tmp_path: Path) -> None:
    recipe = recipes.load("ring", {**labelled(tmp_path, 2), "objective": "nonsaturating"})
    with Run.start(tmp_path / "run", recipe) as run:
        x, y = run.source.batch(view.SEED, len(run.source))
        z, classes = run.game.noise(view.POINTS, view.SEED), run.game.conditions(view.POINTS, view.SEED)
        numbers = view.view(run).draw(run.game)["numbers"]
        with torch.no_grad():
            D = run.game.D.network.eval()
            fake = D(run.game.generate(z, live=True, y=classes), classes)
            said = [run.game.objective.probability(logits).mean() for logits in (D(x, y), fake)]
    assert [numbers["d_real"], numbers["d_fake"]] == pytest.approx([float(p) for p in said], rel=1e-3)


# in a browser -----------------------------------------------------------------------------------------------


def test_each_control_does_what_it_says(
    chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = (Advice("objective", "nonsaturating", "it pushes"), Advice("D.width", 32, "fewer weights"))
    judged = SimpleNamespace(findings=[Finding("saturation", "fault", 1, 0.9, (), advice)])
    monkeypatch.setattr("zerosum.run.examined.examine", lambda path: judged)
    server = Server(game=steering.Game(tmp_path, recipes.load("ring", {**SMALL, "steps": 4000})))
    game = server.hub.game
    tab = Tab(chromium, server.url)
    page, turn = tab.page, tab.page.locator("#turn")
    page.wait_for_selector("#change option", state="attached")
    page.click("[data-do=half]")
    page.wait_for_selector("#algorithm .lit[data-half=d]")
    assert turn.text_content() == "1"
    page.click("[data-do=half]")
    page.wait_for_selector("#algorithm .lit[data-half=g]")
    page.select_option("#change [name=path]", "d_optimizer.lr")
    page.fill("#change [name=value]", "as fast as can be")
    page.click("#change button >> nth=0")
    page.locator("#note:not(:empty)").wait_for()
    page.fill("#change [name=value]", "0.0005")
    page.click("#change button >> nth=0")
    until(lambda: bool(events(game.player.path, "changed")))
    (event,) = events(game.player.path, "changed")
    assert (event["step"], event["fields"]) == (1, {"d_optimizer.lr": 0.0005})
    page.wait_for_selector("#events li:has-text('d_optimizer.lr')")
    page.click("#break button")
    until(lambda: len(events(game.player.path, "changed")) == 2)
    page.locator("text=Follow it").wait_for()
    assert page.locator("#standing li").count() == 2  # the second takes another game
    page.click("text=Follow it")
    until(lambda: len(events(game.player.path, "changed")) == 3)
    assert events(game.player.path, "changed")[-1]["fields"] == {"objective": "nonsaturating"}
    page.focus("[data-do=play]")
    page.keyboard.press("Enter")
    until(lambda: game.player.frame["step"] > 20)
    page.click("[data-do=pause]")
    until(lambda: game.player.frame["mode"] == "pause")
    ask = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    assert page.locator("#plane").evaluate(ask) > 20
    first = game.player.path
    page.click("#draw-own")
    page.locator("#draw[aria-pressed=true]").wait_for()
    for key in ("Space", "ArrowLeft", "Space"):
        page.keyboard.press(key)
    assert page.evaluate("strokes.length") == 120
    box = page.locator("#plane").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 150, steps=30)
    page.mouse.up()
    page.click("#draw")
    until(lambda: game.player.path != first)
    assert game.player.path.name == "drawn-1"
    page.locator("#runs [value]").nth(1).wait_for(state="attached")
    assert page.locator("#runs [value]").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.said == [] and tab.outside(server.url) == []
    tab.page.close()
    server.stop()


def test_a_fork_stays_when_the_page_had_the_address_of_another_moment(chromium: Any, tmp_path: Path) -> None:
    server = Server(game=steering.Game(tmp_path, "ring"))
    game = server.hub.game
    tab = Tab(chromium, server.url)
    page = tab.page
    page.click("[data-do=turn]")
    until(lambda: "step=1" in page.evaluate("location.hash"))
    page.select_option("#change [name=step]", "0")
    page.select_option("#change [name=path]", "penalties")
    page.fill("#change [name=value]", '[{"name": "r1", "weight": 0.2}]')
    page.click("#change [name=fork]")
    page.locator("h1", has_text="fork").wait_for()
    page.locator("#mode", has_text="paused").wait_for()
    page.click("[data-do=turn]")  # what the page asked for before has been done then
    until(lambda: game.player.frame["step"] == 1)
    assert [path.name for path in game.paths] == ["ring-1", "ring-1-fork-1"]
    (event,) = events(game.player.path, "changed")
    assert event["fields"] == {"penalties": [{"name": "r1", "weight": 0.2}]}
    assert tab.said == []
    page.close()
    server.stop()
