"""The page that looks on: what it shows is in the files, and who may not look is refused."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pages import TINY, Tab, add, deep, trained
from zerosum import recipe as recipes
from zerosum.page import watched
from zerosum.run import checkpoints
from zerosum.run.log import Log, RunError
from zerosum.run.run import Run

live = pytest.importorskip("zerosum.page.live", reason="the extra `web` brings starlette")

TOKEN = "0123456789abcdef"
HOSTILE = """<script>window.pwned=1</script>"'><img src=x onerror="pwned=1">"""


def apart(waited: Any) -> Any:
    """What an awaitable comes to, in a thread of its own: the browser's tests have a loop in this one."""

    async def wait() -> Any:
        return await waited

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, wait()).result()


class Server:
    """A server on a free port, in a thread of its own."""

    def __init__(self, *paths: Path, game: Any = None) -> None:
        import uvicorn

        self.hub = live.Hub(list(paths), game)
        self.hub.pace = 0.1
        listener = live.listen()
        self.port = listener.getsockname()[1]
        app = live.application(self.hub, TOKEN, self.port)
        config = uvicorn.Config(
            app, log_level="critical", ws_max_size=live.LARGEST, timeout_graceful_shutdown=1
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([listener],), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}/"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)) as connection:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}

    def hear(self, until: Callable[[list[Any]], bool], send: Any = None, **options: Any) -> list[Any]:
        """What a page is told, until that is enough."""
        from websockets.asyncio.client import connect

        async def listen() -> list[Any]:
            told: list[Any] = []
            options.setdefault("origin", f"http://127.0.0.1:{self.port}")
            where = options.pop("where", self.url.replace("http", "ws") + "socket")
            async with connect(where, max_size=None, **options) as socket:
                if send is not None:
                    await socket.send(send)
                async for text in socket:
                    told.append(json.loads(text))
                    if until(told):
                        break
            return told

        return apart(asyncio.wait_for(listen(), 120))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        trained(folder / f"seed{seed}", "digits", seed=seed)
    return folder


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[Server]:
    server = Server(*watched.runs(runs))
    yield server
    server.stop()


def told(server: Server, run: int = 0) -> dict[str, Any]:
    """The first records and the standing of a run."""
    messages = server.hear(lambda all: {"records", "standing"} <= {m["type"] for m in all if m["run"] == run})
    return {m["type"]: m for m in messages if m["run"] == run}


# who may look -----------------------------------------------------------------------------------------------


def test_who_knows_the_address_sees_the_page(server: Server) -> None:
    status, body, headers = server.ask(f"/{TOKEN}/")
    assert status == 200 and b"seed1" in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert (headers["referrer-policy"], headers["x-content-type-options"]) == ("no-referrer", "nosniff")
    assert (
        server.ask(f"/{TOKEN}/picture/0/6.png")[1]
        == next(reversed(Log(server.hub.runs[0].path).pictures().values())).read_bytes()
    )


@pytest.mark.parametrize(
    "path", ["/", "/x/", f"/{TOKEN[:-1]}/", f"/{TOKEN}0/", f"//{TOKEN}/", "/static/live.js"]
)
def test_a_wrong_token_is_refused(server: Server, path: str) -> None:
    assert server.ask(path)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_another_host_or_origin_is_refused(server: Server, headers: dict[str, str]) -> None:
    assert server.ask(f"/{TOKEN}/", **headers)[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(server: Server, method: str) -> None:
    assert server.ask(f"/{TOKEN}/", method)[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "static/../live.py", "static/%2e%2e/live.py", "static//etc/passwd", "static/..%2f..%2fx.py",
        "static/vendor/uplot/LICENSE", "picture/0/../../../recipe.yaml", "picture/0/999.png",
        "picture/9/6.png", "picture/-1/6.png", "picture/0/" + "9" * 400 + ".png", "real/9.png", "film/9.json",
        "picture/0/6.png%00",
    ],
)  # fmt: skip
def test_nothing_else_can_be_read(server: Server, path: str) -> None:
    status, body, _ = server.ask(f"/{TOKEN}/{path}")
    assert status in (204, 404) and len(body) < 100


@pytest.mark.parametrize(
    "options",
    [
        {"origin": "http://evil.example"},
        {"origin": None},
        {"additional_headers": {"Host": "evil.example"}},
        {"where": "wrong"},
    ],
    ids=str,
)
def test_a_socket_from_elsewhere_is_refused(server: Server, options: dict[str, Any]) -> None:
    from websockets.exceptions import InvalidStatus, WebSocketException

    if "where" in options:
        options = {"where": f"ws://127.0.0.1:{server.port}/wrong/socket"}
    with pytest.raises((InvalidStatus, WebSocketException)):
        server.hear(lambda all: True, **options)
    assert told(server)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[" * 60000, "\x00\ud7ff", b"\xff\xfe", "x" * (1 << 17)],
    ids=range(7),
)
def test_malformed_and_oversized_messages_do_nothing(server: Server, text: Any) -> None:
    from websockets.exceptions import ConnectionClosed

    with suppress(ConnectionClosed):
        server.hear(lambda all: len(all) > 3, send=text)
    assert told(server)["standing"]["pictures"]


def test_fifty_connections_leave_it_standing(server: Server) -> None:
    from websockets.asyncio.client import connect

    async def crowd() -> int:
        decided, all_decided = list[bool](), asyncio.Event()

        def decide(let_in: bool) -> bool:
            decided.append(let_in)
            if len(decided) == 50:
                all_decided.set()
            return let_in

        async def one() -> bool:
            """Whether it was let in; who was stays until all have tried."""
            where, origin = server.url.replace("http", "ws") + "socket", f"http://127.0.0.1:{server.port}"
            try:
                async with connect(where, origin=origin, max_size=None) as socket:
                    await socket.recv()
                    decide(True)
                    await all_decided.wait()
                    return True
            except Exception:
                return decide(False)

        return sum(await asyncio.gather(*(one() for _ in range(50))))

    assert 1 <= apart(crowd()) <= live.CLIENTS
    deadline = time.monotonic() + 120
    while server.hub.clients and time.monotonic() < deadline:
        time.sleep(0.05)
    assert told(server)


# what it shows ----------------------------------------------------------------------------------------------


def test_what_is_told_is_what_the_files_hold(server: Server, runs: Path) -> None:
    message = told(server, run=1)
    records = Log(runs / "seed1").records()
    assert message["records"]["anew"]
    column = message["records"]["columns"]["d_loss"]
    assert dict(zip(column["step"], column["value"], strict=True)) == {
        r["step"]: r["d_loss"] for r in records
    }
    assert message["standing"]["pictures"] == list(Log(runs / "seed1").pictures())
    assert [event["kind"] for event in message["standing"]["events"]][-1] == "finished"


def test_a_run_that_grows_is_read_on_and_one_cut_back_is_read_anew(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "digits")
    one = watched.Watched(run)
    one.poll()
    first, generation = len(one.records), one.generation
    add(run / "metrics.jsonl", {"step": 7, "d_loss": 1.5}, b'{"step": 8, "d_lo')
    one.poll()
    assert (len(one.records), one.generation) == (first + 1, generation)
    assert one.records[-1] == {"step": 7, "d_loss": 1.5}
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'ss": 2.5}\n')
    one.poll()
    assert one.records[-1] == {"step": 8, "d_loss": 2.5}
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join(lines[:3]))
    one.poll()
    assert len(one.records) == 3 and one.generation > generation


def test_a_run_that_grows_is_judged_within_a_share_of_the_time_and_its_events_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked, now = trained(tmp_path / "run", "digits", steps=2), list[Path](), [100.0]
    judged = SimpleNamespace(findings=[])
    monkeypatch.setattr(watched, "monotonic", lambda: now[0])

    def examine(path: Path) -> Any:
        asked.append(path)
        now[0] += 1  # it takes a second
        return judged

    monkeypatch.setattr("zerosum.run.examined.examine", examine)
    one = watched.Watched(run)
    for step, later, times in ((3, 0, 1), (4, 1 / watched.SHARE - 1, 1), (5, 0, 1), (6, 2, 2)):
        one.poll()
        add(run / "events.jsonl", {"event": "fault", "step": step, "name": "slow"})
        now[0] += later
        one.poll()
        assert one.standing["events"][-1]["step"] == step and len(asked) == times


def test_looking_on_writes_nothing(server: Server, runs: Path) -> None:
    def state() -> dict[str, str]:
        files = [p for p in sorted(runs.rglob("*")) if p.is_file()]
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    before = state()
    told(server)
    for path in ("", "real/0.png", "picture/0/6.png", "film/0.json"):
        assert server.ask(f"/{TOKEN}/{path}")[0] == 200
    assert state() == before


def test_weights_are_the_same_bytes_with_a_page_open_and_without(tmp_path: Path) -> None:
    recipe = recipes.load("ring", {**TINY, "watch": "standard"})
    with Run.start(tmp_path / "run", recipe) as run:
        records = run.play()
        next(records)
        server = Server(run.path)
        try:
            for _ in records:
                assert {m["type"] for m in server.hear(lambda all: len(all) > 1)} == {"records", "standing"}
        finally:
            server.stop()
    trained(tmp_path / "alone", "ring", watch="standard")
    for file in sorted((tmp_path / "alone/checkpoints").rglob("*.safetensors")):
        assert (run.path / file.relative_to(tmp_path / "alone")).read_bytes() == file.read_bytes()


def test_a_long_run_is_thinned_evenly_with_its_end(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "digits", steps=1)
    lines = b"".join(b'{"step": %d, "d_loss": 1.0}\n' % step for step in range(1, 100_001))
    (run / "metrics.jsonl").write_bytes(lines)
    one = watched.Watched(run)
    one.poll()
    steps = [record["step"] for record in one.records]
    assert watched.MOST / 2 <= len(steps) <= watched.MOST
    assert steps[-1] == 100_000 and len({b - a for a, b in pairwise(steps[:-1])}) == 1


CLOCKS = {"d_loss": 1, "coverage": 8, "distance": 12, "r1": 16}  # lines from one value to the next


def log_of(path: Path, lines: int) -> dict[str, list[int]]:
    """A log of quantities on clocks of their own, a line at step 1 and at every 25th; the steps of each."""
    steps = [1, *range(25, 25 * lines, 25)]
    own = {name: steps[::every] for name, every in CLOCKS.items()}
    at = {name: set(theirs) for name, theirs in own.items()}
    records = [{"step": s, **{name: -s for name in CLOCKS if s in at[name]}} for s in steps]
    path.mkdir(exist_ok=True)
    (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return own


def shown(path: Path) -> dict[str, list[int]]:
    """The steps at which each quantity is shown to who comes now."""
    one = watched.Watched(path)
    one.poll()
    table = watched.columns(one.records)
    assert all(column["value"] == [-step for step in column["step"]] for column in table.values())
    return {name: column["step"] for name, column in table.items()}


@pytest.mark.parametrize("lines", [1, 2, 9, 1500, 1501, 1502, 2000, 2999, 3000, 3001, 4007, 10_000])
def test_every_quantity_is_shown_to_its_end_however_long_the_run(lines: int, tmp_path: Path) -> None:
    own, seen = log_of(tmp_path, lines), shown(tmp_path)
    assert seen.keys() == own.keys()
    for name, steps in own.items():
        assert seen[name][-1] == steps[-1] and set(seen[name]) <= set(steps)
        assert min(len(steps), watched.MOST / 2) <= len(seen[name]) <= watched.MOST


@pytest.mark.parametrize("lengths", [(1500, 1501), (1501, 1502), (2999, 3001), (800, 4007), (4007, 10_000)])
def test_runs_of_any_two_lengths_share_the_steps_at_which_they_are_shown(
    lengths: tuple[int, int], tmp_path: Path
) -> None:
    paths = [tmp_path / str(lines) for lines in lengths]
    for path, lines in zip(paths, lengths, strict=True):
        log_of(path, lines)
    shorter, longer = map(shown, paths)
    for name in CLOCKS:
        both = [step for step in longer[name] if step <= shorter[name][-1]]
        assert len(both) > 1 and len(set(both) - set(shorter[name])) == 0


def test_who_looks_on_has_every_quantity_to_its_end_and_no_more_than_can_be_seen(tmp_path: Path) -> None:
    own = log_of(tmp_path, 9000)
    lines = (tmp_path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    hub, sent, page = live.Hub([tmp_path]), dict[int, Any](), dict[str, list[int]]()
    (tmp_path / "metrics.jsonl").write_bytes(b"")
    anew = 0
    for i in range(0, len(lines), 137):
        add(tmp_path / "metrics.jsonl", *lines[i : i + 137])
        hub.read()
        for message in [one for one in hub.news(sent) if one["type"] == "records"]:
            anew += message["anew"]
            page = {} if message["anew"] else page
            for name, column in message["columns"].items():
                page.setdefault(name, []).extend(column["step"])
        end = json.loads(lines[min(i + 136, len(lines) - 1)])["step"]
        for name, steps in own.items():
            assert page[name][-1] == [step for step in steps if step <= end][-1]
            assert len(page[name]) == len(set(page[name])) <= 3 * watched.MOST
    assert 1 < anew < 10


@pytest.mark.parametrize("name", ["metrics.jsonl", "events.jsonl", "samples"])
def test_a_file_that_is_none_is_a_line_and_the_others_are_shown(name: str, tmp_path: Path) -> None:
    import os
    import shutil

    run = trained(tmp_path / "run", "digits", steps=2)
    shutil.rmtree(run / name) if name == "samples" else (run / name).unlink()
    os.mkfifo(run / name)
    one = watched.Watched(run)
    one.poll()
    assert one.standing["state"]


LEVELS = (40, 600, 960)
HOSTILE_LINES = {
    **{f"fields, {n} deep": f'"event": "changed", "fields": {{"a": {deep(n)}}}' for n in LEVELS},
    **{f"evidence, {n} deep": f'"event": "fault", "name": "", "evidence": {deep(n, "[%s]")}' for n in LEVELS},
    **{f"anything, {n} deep": f'"event": "resumed", "torch": {deep(n)}' for n in LEVELS},
    "no number": '"event": "started", "scales": {"value": ["u", NaN]}',
    "no end": '"event": "started", "scales": {"value": ["u", Infinity]}',
    "too large": '"event": "started", "scales": {"value": ["u", 1e999]}',
    "a unit of lists": '"event": "started", "scales": {"value": [[["u"]], {"a": 1}]}',
    "no date": '"event": "fault", "name": "", "time": NaN, "confidence": NaN, "evidence": [{"text": NaN}]',
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE_LINES)
def test_a_hostile_run_is_shown_and_the_others_beside_it(case: str, runs: Path, tmp_path: Path) -> None:
    import shutil

    for name in ("hostile", "other"):
        shutil.copytree(runs / "seed0", tmp_path / name)
    add(tmp_path / "hostile/events.jsonl", f'{{"step": 6, {HOSTILE_LINES[case]}}}\n'.encode())
    hub = live.Hub([tmp_path / "hostile", tmp_path / "other"])
    hub.read()
    told = [json.loads(json.dumps(one, allow_nan=False)) for one in hub.news({})]
    assert [(one["type"], one["run"]) for one in told] == [
        (t, i) for i in (0, 1) for t in ("records", "standing")
    ]
    assert told[1]["events"] and told[3]["events"][-1]["kind"] == "finished"
    assert told[3]["findings"] == told[1]["findings"] or "no date" in case


def test_what_is_wrong_with_a_run_is_its_line_whatever_it_is(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(event: Any) -> Any:
        raise RecursionError("too deep")

    one = watched.Watched(runs / "seed0")
    monkeypatch.setattr(watched, "_event", fail)
    one.poll()
    assert "too deep" in one.standing["state"] and one.records


def test_a_look_that_fails_is_followed_by_others() -> None:
    hub, looks = live.Hub([]), list[int]()
    hub.clients, hub.pace = 1, 0.01

    def look() -> None:
        looks.append(len(looks))
        assert len(looks) > 2, "the first two fail"

    async def poll() -> None:
        task = asyncio.create_task(hub.poll())
        while len(looks) < 4:
            assert not task.done()
            await asyncio.sleep(0.01)
        task.cancel()

    hub._look = look  # type: ignore[method-assign]
    apart(asyncio.wait_for(poll(), 120))


def test_what_holds_no_run_is_said_in_a_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", Path(__file__)):
        with pytest.raises(RunError):
            watched.runs(path)


# in a browser -----------------------------------------------------------------------------------------------


@pytest.fixture
def tab(chromium: Any, server: Server, request: pytest.FixtureRequest) -> Iterator[Tab]:
    tab = Tab(chromium, server.url, **getattr(request, "param", {}))
    tab.page.wait_for_selector("#charts canvas")
    tab.page.wait_for_selector("#plane-panel")  # made of what the run keeps
    yield tab
    assert tab.said == []
    assert tab.outside(f"http://127.0.0.1:{server.port}/{TOKEN}/") == []
    tab.page.close()


def test_the_page_shows_samples_charts_and_events(tab: Tab, runs: Path) -> None:
    assert tab.page.locator("#charts canvas").count() >= 3
    assert tab.page.locator("#events li").count() >= 4
    headings = tab.page.locator("#pictures h3").all_text_contents()
    assert [text.split(",")[0] for text in headings] == ["seed0", "seed1", "Real"]
    widths = tab.page.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert len(widths) == 6 and min(widths) > 0  # with a closer look at what G makes


def test_time_runs_by_keyboard_button_and_slider(tab: Tab, runs: Path) -> None:
    pictures, kept = Log(runs / "seed0").pictures(), checkpoints.steps(runs / "seed0/checkpoints")
    steps = sorted({*pictures, *kept})
    shown = tab.page.locator("#step")
    assert shown.text_content() == str(steps[-1])
    tab.page.locator("body").click(position={"x": 2, "y": 2})
    for press, i in (("ArrowLeft", -2), ("Home", 0), ("ArrowRight", 1), ("End", -1)):
        tab.page.keyboard.press(press)
        assert shown.text_content() == str(steps[i])
    tab.page.locator("#time").focus()
    tab.page.keyboard.press("Home")
    assert shown.text_content() == str(steps[0]) and not tab.page.locator("#follow").is_checked()
    assert f"/{steps[0]}.png" in tab.page.locator("#pictures img").first.get_attribute("src")
    tab.page.locator("#play").click()
    tab.page.wait_for_selector(f"#pictures img[src$='/{steps[-1]}.png']")


def test_runs_are_compared_and_put_away(tab: Tab) -> None:
    def legend() -> list[str]:
        return tab.page.locator("#charts .panel").last.locator(".u-label").all_text_contents()

    assert any("mean" in text for text in legend()) and any("seed1" in text for text in legend())
    labels = tab.page.locator("#charts .u-label")
    tab.page.locator("#mean").uncheck()
    labels.filter(has_text="mean").first.wait_for(state="detached")
    tab.page.locator("#runs input[value='1']").uncheck()
    labels.filter(has_text="seed1").first.wait_for(state="detached")
    tab.page.locator("#pictures h3", has_text="seed1").wait_for(state="detached")
    assert tab.page.locator("#pictures .panel").count() == 2


@pytest.mark.parametrize("tab", [{"width": 390, "scheme": "dark"}, {"width": 1400}], indirect=True, ids=str)
def test_nothing_scrolls_sideways(tab: Tab) -> None:
    tab.page.locator("#more summary").click()
    tab.page.locator("#more[open]").wait_for()
    tab.page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_run_is_seen_to_grow_and_hostile_text_stays_text(chromium: Any, tmp_path: Path) -> None:
    run = trained(tmp_path / "<i>run", "digits", steps=2)
    server = Server(run)
    tab = Tab(chromium, server.url)
    tab.page.wait_for_selector("#charts canvas")
    add(run / "metrics.jsonl", {"step": 3, "d_loss": 9.0, HOSTILE: 1.0})
    add(run / "events.jsonl", {"event": "fault", "step": 3, "name": HOSTILE, "evidence": [HOSTILE]})
    tab.page.wait_for_selector("#events .bad")
    tab.page.locator("#more summary").click()
    tab.page.wait_for_selector("#readings canvas")
    assert HOSTILE in tab.page.locator("#events").text_content()
    assert tab.page.evaluate("typeof window.pwned") == "undefined"
    assert tab.said == []
    tab.page.close()
    server.stop()
