"""Scalars of TensorBoard's event files, read without TensorBoard."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from composer.tracking.protocol import wire

_LENGTH: Final = struct.Struct("<Q")
_MAX_RECORD: Final = 256 << 20


class Scalar(NamedTuple):
    """One logged number.

    Attributes:
        tag: its name.
        step: the step.
        wall_time: seconds since 1970.
        value: the number.
    """

    tag: str
    step: int
    wall_time: float
    value: float


def read(path: Path) -> Iterator[Scalar]:
    """Scalars of an event file, in order; stops at a record that is cut short."""
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            (length,) = _LENGTH.unpack_from(head)
            if length > _MAX_RECORD:
                return
            data = file.read(length)
            if len(data) < length or len(file.read(4)) < 4:
                return
            yield from _event(data)


def _event(data: bytes) -> Iterator[Scalar]:
    event = wire.message(data)
    wall_time = wire.double(event[1][-1]) if 1 in event else 0.0
    step = wire.signed(event[2][-1]) if 2 in event else 0
    for summary in event.get(5, []):
        for raw in wire.message(summary).get(1, []):
            value = wire.message(raw)
            found = _number(value)
            if found is not None:
                yield Scalar(wire.text(value, 1), step, wall_time, found)


def _number(value: dict[int, list[memoryview]]) -> float | None:
    """A value's number: the old simple one, or a tensor of one float or double."""
    if 2 in value:
        return struct.unpack("<f", value[2][-1])[0]
    if 8 not in value:
        return None
    tensor = wire.message(value[8][-1])
    kind = tensor.get(1, [0])[-1]
    formats = {1: ("<f", 5), 2: ("<d", 6)}
    if kind not in formats:
        return None
    code, number = formats[kind]
    size = struct.calcsize(code)
    for source in (4, number):  # 4: raw bytes; else packed values.
        if source in tensor and len(tensor[source][-1]) == size:
            return struct.unpack(code, tensor[source][-1])[0]
    return None
