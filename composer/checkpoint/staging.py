"""Copies of a run's state that training cannot change while they are written.

The copy goes into buffers that are kept for the next one: memory that was never touched before is
several times slower to fill. From a GPU the copies are queued behind the work that is under way,
into pinned memory, so that the host does not wait for them and the next step, queued behind them,
cannot touch what is being copied.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch

__all__ = ["Staged", "StagingArea"]

# What makes two tensors the same memory seen in the same way.
_Key = tuple[int, int, torch.dtype, tuple[int, ...], tuple[int, ...]]


class Staged:
    """A copy of a state, on its way to the host or there.

    Attributes:
        contents: the copy. Read it after :meth:`wait`.
    """

    def __init__(self, contents: Any, events: list[torch.cuda.Event]) -> None:
        self.contents = contents
        self._events = events

    def wait(self) -> None:
        """Wait until the copy is complete; to be called off the training thread."""
        for event in self._events:
            event.synchronize()


class StagingArea:
    """Makes one copy at a time, in the memory of the one before.

    The memory of a copy may be used again once it is written; when that is, the caller knows.
    """

    def __init__(self) -> None:
        self._free: dict[tuple[torch.dtype, int], list[torch.Tensor]] = {}
        self._used: list[torch.Tensor] = []
        self._same: dict[_Key, torch.Tensor] = {}
        self._devices: set[torch.device] = set()

    @property
    def size_bytes(self) -> int:
        """Host memory held for copies."""
        free = (buffer for buffers in self._free.values() for buffer in buffers)
        return sum(buffer.nbytes for buffer in (*free, *self._used))

    @torch.no_grad()
    def stage(self, contents: Any) -> Staged:
        """Copy a state; the copy before may no longer be in use.

        Args:
            contents: nested dicts, lists, tuples and sets of tensors, arrays and plain values.
                Tensors that are the same memory stay the same memory in the copy.
        """
        for buffer in self._used:
            self._free.setdefault((buffer.dtype, buffer.numel()), []).append(buffer)
        self._used, self._same, self._devices = [], {}, set()
        copied = self._copy(contents)
        # What did not fit anywhere belongs to a state that has changed its shape.
        self._free.clear()
        self._same.clear()
        return Staged(copied, [_event_on(device) for device in self._devices])

    def _copy(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._copy_tensor(value)
        if isinstance(value, Mapping):
            return self._copy_mapping(cast("Mapping[Any, Any]", value))
        if isinstance(value, list | tuple | set | frozenset):
            items = [self._copy(item) for item in cast("Sequence[Any]", value)]
            return items if isinstance(value, list) else type(value)(items)
        if isinstance(value, np.ndarray):
            return value.copy()
        return value

    def _copy_mapping(self, value: Mapping[Any, Any]) -> Any:
        copied = {key: self._copy(item) for key, item in value.items()}
        if not isinstance(value, OrderedDict):
            return copied
        # Modules note versions of their weights as an attribute of the dict.
        same = copy.copy(value)
        same.update(copied)
        return same

    def _copy_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.layout is not torch.strided or tensor.device.type == "meta":
            return tensor.detach().clone()
        key = (
            tensor.data_ptr(),
            hash(tensor.device),
            tensor.dtype,
            tuple(tensor.shape),
            tensor.stride(),
        )
        found = self._same.get(key) if tensor.numel() else None
        if found is None:
            found = self._same[key] = self._copy_memory(tensor.detach())
        return found

    def _copy_memory(self, tensor: torch.Tensor) -> torch.Tensor:
        is_cuda = tensor.device.type == "cuda"
        buffer = self._take(tensor, pinned=is_cuda)
        # Dense tensors keep their order of dimensions, such as channels_last; others become plain.
        if torch.ops.aten.is_non_overlapping_and_dense(tensor):
            target = buffer.as_strided(tensor.shape, tensor.stride())
        else:
            target = buffer.view(tensor.shape)
        target.copy_(tensor, non_blocking=is_cuda)
        if is_cuda:
            self._devices.add(tensor.device)
        return target

    def _take(self, tensor: torch.Tensor, *, pinned: bool) -> torch.Tensor:
        free = self._free.get((tensor.dtype, tensor.numel()))
        buffer = free.pop() if free else None
        if buffer is None or (pinned and not buffer.is_pinned()):
            buffer = torch.empty(tensor.numel(), dtype=tensor.dtype, pin_memory=pinned)
        self._used.append(buffer)
        return buffer


def _event_on(device: torch.device) -> torch.cuda.Event:
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event
