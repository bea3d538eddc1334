"""What happened in a run, in sentences, and as marks under a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zerosum.page.figure import Mark
from zerosum.page.formats import brief, finite

__all__ = ["MACHINE", "kind", "marks", "sentence", "sign"]

SIGNS = {
    "started": "▸",
    "resumed": "↻",
    "changed": "◆",
    "refused": "◇",
    "fell_back": "▼",
    "data_changed": "▼",
    "fault": "▲",
    "recovered": "△",
    "stopped": "■",
    "finished": "●",
}
WORDS = {
    "started": "begun",
    "changed": "the game was changed",
    "refused": "a change was refused",
    "fell_back": "went back past a checkpoint that could not be read",
    "data_changed": "went on with other data",
}
BAD = ("fault", "fell_back", "data_changed")
MACHINE = ("zerosum", "torch", "python", "device", "threads", "machine")
MARKED = 200  # events marked under a chart, at most: the last

Event = Mapping[str, Any]


def kind(event: Event) -> str:
    """The kind of an event, in words."""
    name = brief(event.get("event", "event without a name"), 60)
    return WORDS.get(name, name)


def sign(event: Event) -> tuple[str, bool]:
    """The sign of an event, and whether it is a bad one."""
    name = str(event.get("event"))
    return SIGNS.get(name, "◆"), name in BAD


def marks(events: Sequence[Event]) -> list[Mark]:
    """The events as marks on the time axis."""
    return [Mark(event["step"], *_first(event), bad=sign(event)[1]) for event in events[-MARKED:]]


def _first(event: Event) -> tuple[str, str]:
    return sign(event)[0], f"step {event['step']:,}: {kind(event)}. {sentence(event)}".strip()


def sentence(event: Event) -> str:
    """All that is to be said of an event, but for its kind, its step and its time."""
    match event.get("event"):
        case "started" | "resumed":
            return _machine(event)
        case "fault" | "recovered":
            return _fault(event)
        case "changed":
            fields = event.get("fields")
            pairs = fields.items() if isinstance(fields, Mapping) else ()
            why = [str(event["reason"])] if event.get("reason") else []
            texts = [f"{name} is now {brief(_value(value))}" for name, value in pairs]
            return _sentence("; ".join([*why, *texts]))
        case "fell_back" | "refused":
            return _sentence(event.get("cause"))
        case "stopped":
            reason = event.get("reason")
            by = "" if str(reason).startswith("no longer") else "by "
            return _sentence(f"{by}{reason}" if reason else "")
        case _:
            rest = {k: v for k, v in event.items() if k not in ("event", "time", "step") and v}
            return _sentence("; ".join(f"{k}: {brief(_value(v))}" for k, v in rest.items()))


def _machine(event: Event) -> str:
    versions = [f"{name} {event[name]}" for name in ("zerosum", "torch") if name in event]
    device = [f"on {event['device']}"] if "device" in event else []
    threads = event.get("threads")
    count = [f"with {threads} thread{'s' * (threads != 1)}"] if type(threads) is int else []
    return _sentence(" ".join([", ".join(versions), *device, *count]).strip())


def _fault(event: Event) -> str:
    """The name of a fault, how sure it is, and what shows it."""
    name = str(event.get("name", "without a name"))
    if "traceback" in event:
        lines = str(event["traceback"]).strip().splitlines() or [""]
        return _sentence(f"{name}: {lines[-1]}")
    if "term" in event:
        return _sentence(f"{name}: {event['term']}")
    evidence = event.get("evidence")
    texts = [_evidence(item) for item in evidence] if isinstance(evidence, list) else []
    confidence = finite(event.get("confidence"))
    sure = "" if confidence is None else f" (confidence {confidence:.0%})"
    return _sentence(f"{name}{sure}" + (f": {'; '.join(texts)}" if texts else ""))


def _evidence(item: Any) -> str:
    return str(item.get("text", item.get("sentence", ""))) if isinstance(item, Mapping) else str(item)


def _value(value: Any) -> str:
    """A value of a recipe as one writes it there."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def _sentence(text: Any) -> str:
    words = brief(text or "")
    return words if not words or words[-1] in ".!?…" else f"{words}."
