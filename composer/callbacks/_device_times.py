"""How long the device took for the parts of a step, without waiting for it."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["DeviceTimes"]


class DeviceTimes:
    """Marks in the CUDA stream between which the device's time is measured.

    The host runs ahead of the device. Marks are put into the stream with the work, and read some
    batches later, when the device has passed them.
    """

    def __init__(self) -> None:
        self._marks: list[tuple[int, Any]] = []
        self.is_recording = False

    def start(self) -> None:
        """Begin to measure; what was not read is forgotten."""
        self._marks = []
        self.is_recording = True

    def stop(self) -> None:
        """Put in no more marks."""
        self.is_recording = False

    def mark(self, part: int) -> None:
        """Say that the work from here on belongs to ``part``."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append((part, event))

    def read(self, num_parts: int) -> list[float] | None:
        """Return the nanoseconds of each part; ``None`` if the device is not yet that far."""
        if self.is_recording or len(self._marks) < 2 or not self._marks[-1][1].query():
            return None
        spent = [0.0] * num_parts
        for (part, begin), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            spent[part] += begin.elapsed_time(end) * 1e6
        return spent
