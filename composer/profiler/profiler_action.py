"""What a profiler does during a batch."""

from __future__ import annotations

from composer.utils.string_enum import StringEnum

__all__ = ["ProfilerAction"]


class ProfilerAction(StringEnum):
    """What a profiler does during a batch.

    Attributes:
        SKIP: nothing.
        WARMUP: it gets ready, so that its own start is not measured.
        ACTIVE: it records.
        ACTIVE_AND_SAVE: it records, and writes what was recorded at the end of the batch.
    """

    SKIP = "skip"
    WARMUP = "warmup"
    ACTIVE = "active"
    ACTIVE_AND_SAVE = "active_and_save"
