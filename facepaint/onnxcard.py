"""The card inside an ONNX file, read without opening the file as a network: to open one is to run
parts of it, and a foreign one should be refused before that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

CARD_KEY = "facepaint.card"
_PROPERTIES = 14  # ModelProto's field of pairs: 1 is the key, 2 the value
_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5  # protobuf's kinds of values


def card_in(data: bytes) -> dict[str, Any]:
    """ValueError where there is none, or not one."""
    pairs = [dict(_fields(pair)) for field, pair in _fields(data) if field == _PROPERTIES]
    cards = [pair.get(2, b"") for pair in pairs if pair.get(1) == CARD_KEY.encode()]
    card = json.loads(cards[0]) if len(cards) == 1 else None
    if not isinstance(card, dict):
        raise ValueError("no card, or several")
    return card


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of those fields of a message that hold bytes."""
    place = 0
    while place < len(data):
        tag, place = _number(data, place)
        kind = tag & 7
        if kind == _VARINT:
            _, place = _number(data, place)
            continue
        if kind == _LENGTH:
            size, place = _number(data, place)
            yield tag >> 3, data[place : place + size]
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError("no protobuf")
        place += size
    if place > len(data):
        raise ValueError("cut off")


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number, seven bits a byte and the lowest first, and where it ends."""
    value = 0
    for n, byte in enumerate(data[place : place + 10]):
        value |= (byte & 127) << 7 * n
        if byte < 128:
            return value, place + n + 1
    raise ValueError("no protobuf")
