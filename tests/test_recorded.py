"""Recorded games: files that open from a disk; the tour; addresses that lead to the same moment again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pages import Parsed, Tab, trained
from refusals import refused
from test_live import HOSTILE, Server
from test_play import labelled, until
from zerosum import recipe as recipes
from zerosum.cli import main
from zerosum.page import address, recorded, steering, tour
from zerosum.page.address import Place
from zerosum.run.changes import Change
from zerosum.run.log import Log, RunError
from zerosum.run.run import Run

STOPS = {name: tour.STOPS[name] for name in ("saturation", "orbit")}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stops of the tour, cut short."""
    folder = tmp_path_factory.mktemp("tour")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tour, "STOPS", STOPS)
        recorded.write_tour(folder, turns=4)
    return folder


def opened(chromium: Any, page: Path | str, **options: Any) -> Tab:
    tab = Tab(chromium, page.as_uri() if isinstance(page, Path) else page, **options)
    tab.page.locator("#charts canvas").first.wait_for()
    return tab


def pixels(tab: Tab, canvas: str) -> str:
    return tab.page.locator(canvas).evaluate("canvas => canvas.toDataURL()")


# the tour ---------------------------------------------------------------------------------------------------


def test_every_stop_is_there_with_its_formula_and_a_recording_of_all_that_it_offers(pages: Path) -> None:
    names = ["index.html", "orbit.html"]
    assert sorted(path.name for path in pages.iterdir()) == names
    for name, stop in zip(names, STOPS.values(), strict=True):
        page = Parsed((pages / name).read_text())
        assert page.faults == [] and len(page.all("math")) >= len(stop.numbers)
        assert len([a for a in page.all("button") if "data-film" in a]) == 1 + len(stop.tries)
        assert [a["href"] for a in page.all("a") if "html" in a.get("href", "")] == names
        policy = page.all("meta")[1]["content"]
        assert "default-src 'none'" in policy and "'self'" not in policy and policy.count("sha256-") == 3


def test_a_recording_is_looked_through_from_the_disk(chromium: Any, pages: Path) -> None:
    tab = opened(chromium, pages / "index.html")
    page = tab.page
    page.locator("#step", has_text="4").wait_for()
    assert page.locator("[data-number=slope_minimax]").text_content() != "–"
    first, numbers = pixels(tab, "#plane"), page.locator("#stop").text_content()
    page.locator("#time").focus()
    page.keyboard.press("Home")
    page.locator("#step", has_text="0").wait_for()
    assert pixels(tab, "#plane") != first and page.locator("#stop").text_content() != numbers
    page.locator("[data-layer=fake]").uncheck()
    page.locator("[data-layer=fake]").check()
    page.locator("#play").focus()
    page.keyboard.press("Enter")
    page.locator("#step", has_text="4").wait_for()
    assert pixels(tab, "#plane") == first
    page.locator("[data-film='1'][aria-pressed=false]").click()
    page.locator("[data-film='1'][aria-pressed=true]").wait_for()
    assert pixels(tab, "#plane") != first and page.locator("#best-panel").is_visible()
    page.locator("#time").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.locator("#step", has_text="1").wait_for()
    linked = opened(chromium, page.url)
    linked.page.locator("#step", has_text="1").wait_for()
    assert page.url.endswith("#step=1&film=1") and pixels(linked, "#plane") == pixels(tab, "#plane")
    linked.page.close()
    page.locator("nav a").last.click()
    page.locator("h1", has_text=STOPS["orbit"].title).wait_for()
    page.locator("#charts canvas").first.wait_for()
    assert tab.said == [] and tab.outside(pages.as_uri()) == []
    tab.page.close()


def test_the_keyboard_reaches_every_control(chromium: Any, pages: Path) -> None:
    tab = opened(chromium, pages / "orbit.html")
    controls = "a, button, select, summary, input:not([type=radio]), [tabindex='0']"
    there = tab.page.locator(f":is({controls}):visible").count()
    passed = (
        "list => { window.reached ??= new Set(); reached.add(document.activeElement); return reached.size; }"
    )
    sizes = [tab.page.locator("body").evaluate(passed)]  # the body, where it begins
    for _ in range(there):
        tab.page.keyboard.press("Tab")
        sizes.append(tab.page.locator("body").evaluate(passed))
    assert sizes[-1] == there + 1, "some control is passed over"
    tab.page.close()


def test_a_phone_in_the_dark_has_room_for_it(chromium: Any, pages: Path) -> None:
    tab = opened(chromium, pages / "orbit.html", width=390, scheme="dark")
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "θ" in tab.page.locator("#pair-title").text_content() and tab.said == []
    tab.page.close()


@pytest.mark.parametrize("name", tour.STOPS)
def test_what_a_stop_offers_may_be_changed_by_the_page(name: str) -> None:
    recipe = tour.load(name)
    for _, fields in tour.STOPS[name].tries:
        recipes.build(recipes.changed(recipe, address.fields_of(fields)))


# runs -------------------------------------------------------------------------------------------------------


def test_runs_are_exported_with_their_pictures_and_hostile_names_stay_text(
    chromium: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        trained(tmp_path / f"runs/<b>{seed}", "digits", seed=seed)
    with (tmp_path / "runs/<b>0/events.jsonl").open("a") as file:
        file.write('{"event": "fell_back", "step": 6, "cause": "' + HOSTILE.replace('"', '\\"') + '"}\n')
    assert main(["watch", str(tmp_path / "runs"), "--export", str(tmp_path / "page")]) == 0
    assert "index.html" in capsys.readouterr().out
    tab = opened(chromium, tmp_path / "page/index.html")
    page = tab.page
    assert page.locator("#pictures h3").all_text_contents() == ["<b>0, step 6", "<b>1, step 6", "Real"]
    widths = page.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert len(widths) == 6 and min(widths) > 0  # samples, real ones, and what D ranks
    corner = pixels(tab, "#walk")
    page.locator("#walk").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#walk[data-at='1 0']").wait_for()
    assert pixels(tab, "#walk") != corner
    page.locator("#time").focus()
    page.keyboard.press("Home")
    page.locator("#pictures h3", has_text="<b>0, step 0").wait_for()
    assert HOSTILE in page.locator("#events").text_content()
    assert page.evaluate("typeof window.pwned") == "undefined"
    assert tab.said == [] and tab.outside((tmp_path / "page").as_uri()) == []
    page.close()


@pytest.mark.parametrize("columns, drawn", [(1, "line"), (2, "plane")])
def test_a_conditional_game_is_exported_and_seen(
    columns: int, drawn: str, chromium: Any, tmp_path: Path
) -> None:
    recipe = recipes.load("ring", labelled(tmp_path, columns))
    tab = opened(chromium, recorded.write_game(tmp_path / "page", recipe, tmp_path / "run"))
    tab.page.locator("#plane-caption", has_text="class").wait_for()
    assert tab.page.evaluate("now.kind") == drawn
    ask = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    assert tab.page.locator("#plane").evaluate(ask) > 3
    assert tab.said == []
    tab.page.close()


def test_a_folder_that_cannot_be_written_to_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path / "run", "ring", steps=1)
    (tmp_path / "taken").write_text("")
    assert main(["watch", str(run), "--export", str(tmp_path / "taken")]) == 1
    assert "/taken:" in capsys.readouterr().err


# addresses --------------------------------------------------------------------------------------------------

CHANGES = [
    Change(2, {"k": 2}),
    Change(4, {"penalties": [{"name": "r1", "weight": 0.5}], "objective": "hinge"}),
]


def test_an_address_says_what_it_was_made_of() -> None:
    place = Place("ring", {"seed": 3, "latent": 5, "prior": "uniform"}, CHANGES, 7)
    again = address.read(str(place))
    assert str(again) == str(place) and again.leads_to(place)
    assert str(address.read(f"http://127.0.0.1:1/token/#{place}")) == str(place) and "token" not in str(place)
    assert not place.leads_to(Place("ring", {"seed": 4}, CHANGES, 9))


@pytest.mark.parametrize(
    "text",
    [
        "", "step=3", "recipe=ring&step=x", "recipe=ring&step=-1", "recipe=ring&out=/tmp",
        "recipe=ring&changes=[[1,{}]]", "recipe=ring&changes=[[1,{%22objective%22:%22os:abort%22}]]",
        "recipe=ring&changes=" + "[" * 5000, "recipe=ring&prior=a.b:c", "recipe=ring&step=1&x=" + "1" * 20000,
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with refused("recipe", by=RunError):
        address.read(text)


def test_an_address_leads_to_the_same_bytes_and_the_page_goes_on_from_there(
    chromium: Any, tmp_path: Path
) -> None:
    place = Place("vanilla-minimax", {"seed": 3, "latent": 4}, CHANGES[:1], 5)
    server = Server(game=steering.Game(tmp_path / "played", "ring"))
    game = server.hub.game
    tab = Tab(chromium, f"{server.url}#{place}")
    page = tab.page
    page.locator("#turn", has_text="5").wait_for()
    page.locator("#mode", has_text="paused").wait_for()
    page.locator("#address", has_text="vanilla-minimax").wait_for()
    assert "0123456789abcdef" not in page.locator("#address").text_content()  # the token
    page.reload()
    page.locator("#turn", has_text="5").wait_for()
    page.click("[data-do=turn]")
    page.locator("#turn", has_text="6").wait_for()
    assert len(game.paths) == 2 and game.player.frame["address"] == str(Place(**{**vars(place), "step": 6}))
    assert page.locator("#runs input:checked").count() == 1  # the other game's run is put away
    path = game.player.path
    tab.page.close()
    server.stop()
    assert tab.said == []
    recipe = recipes.changed(recipes.load("vanilla-minimax"), {"seed": 3, "latent": 4, "steps": 6})
    with Run.start(tmp_path / "again", recipe, steered=place.changes) as run:
        for _ in run.play():
            pass
    assert [event["fields"] for event in Log(path).events() if event["event"] == "changed"] == [{"k": 2}]
    for name in ("G", "D"):
        file = f"checkpoints/000006/{name}.safetensors"
        assert (tmp_path / "again" / file).read_bytes() == (path / file).read_bytes()


def test_a_stop_of_the_tour_begins_its_game_and_offers_its_changes(chromium: Any, tmp_path: Path) -> None:
    server = Server(game=steering.Game(tmp_path / "played", "orbit"))
    game = server.hub.game
    tab = Tab(chromium, f"{server.url}?stop=value", width=390, scheme="dark")
    page = tab.page
    until(lambda: game.name == "value")
    page.locator("#plane-caption", has_text="p_data").wait_for()
    page.click("[data-do=turn]")
    page.locator("#turn", has_text="1").wait_for()
    page.locator("[data-change]").last.click()
    page.locator("#events li", has_text="k is now 10").wait_for()
    assert page.locator("[data-number=value]").text_content() != "–"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("nav a").last.click()
    page.locator("h1", has_text=tour.STOPS["orbit"].title).wait_for()
    until(lambda: game.name == "orbit" and len(game.paths) == 3)
    page.locator("#runs [value]").nth(2).wait_for(state="attached")
    assert tab.said == [] and tab.outside(server.url) == []
    page.close()
    server.stop()
