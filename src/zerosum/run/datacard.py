"""The data card: what a run keeps of its data, to be sampled, drawn and exported without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zerosum.data import codec as codecs
from zerosum.data.codec import Codec
from zerosum.data.source import Source

__all__ = ["DataCard"]


@dataclass(frozen=True)
class DataCard:
    """codec: what an example is. class_shares: how often each class occurs. fingerprint: of a finite source,
    the same as long as its examples are; "" of a density."""

    codec: Codec
    classes: int = 0
    class_names: Sequence[str] = ()
    class_shares: Sequence[float] = ()
    fingerprint: str = ""

    @classmethod
    def of(cls, source: Source) -> DataCard:
        return cls(source.codec, source.classes, source.class_names, source.class_shares, source.fingerprint)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codec.shape

    def state_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "codec": self.codec.state_dict(),
            "classes": self.classes,
            "class_names": list(self.class_names),
            "class_shares": list(self.class_shares),
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any] | None, facts: Mapping[str, Any] | None = None) -> DataCard:
        """The card of a checkpoint; facts: what one of format 1 has in its place.

        Raises ValueError, TypeError or KeyError for anything else.
        """
        state = {"codec": _codec_of_facts(facts or {}), **(facts or {})} if state is None else state
        names, shares = state.get("class_names", []), state.get("class_shares", [])
        card = cls(
            codecs.restore(state["codec"]),
            state.get("classes", 0),
            tuple(names),
            tuple(shares),
            state.get("fingerprint", ""),
        )
        sizes = [*card.shape, card.classes + 1]
        if not all(type(size) is int and size > 0 for size in sizes) or len(card.shape) == 0:
            raise ValueError(f"no shape of an example, or no number of classes: {sizes}")
        if not all(isinstance(name, str) for name in (*names, card.fingerprint)):
            raise TypeError("names are texts")
        if len(names) not in (0, card.classes) or not all(0 <= share <= 1 for share in shares):
            raise ValueError("each class has one name and one share")
        return card


def _codec_of_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The codec of a run of format 1."""
    if "scale" in facts:
        return {"codec": "scaled", **{name: list(facts[name]) for name in ("columns", "mean", "scale")}}
    shape = list(facts["shape"])
    if len(shape) != 3:
        return {"codec": "numbers", "shape": shape}
    low, high = facts["range"]
    return {"codec": "pixels", "shape": shape, "low": float(low), "high": float(high)}
