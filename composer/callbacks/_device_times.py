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
        self._spent: list[float] | None = None
        self.is_recording = False

    def start(self) -> None:
        """Begin to measure a step, unless the one before is not read yet."""
        if not self._marks:
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
        """Return the nanoseconds of each part in the last step the device is through with.

        Returns:
            One number per part; ``None`` before there is such a step.
        """
        if not self.is_recording and self._marks and self._marks[-1][1].query():
            self._spent = [0.0] * num_parts
            for (part, begin), (_, end) in zip(self._marks, self._marks[1:], strict=False):
                self._spent[part] += begin.elapsed_time(end) * 1e6
            self._marks = []
        return self._spent
