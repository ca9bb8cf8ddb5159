"""Collectives: what all ranks do together. Public through `composer.distributed.comm`.

Every function must be called by all ranks, in the same order. With one process they return at once.
Two families: those named as in ``torch.distributed`` work on tensors and objects; `start_reduce`,
`reduce_counts` and `any_rank` add up plain numbers on the control group without touching a GPU.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from composer.distributed.group import control_group, is_alone
from composer.distributed.record import RECORD
from composer.errors import DistributedError, unknown_name

__all__ = [
    "PendingNumbers",
    "PendingRows",
    "all_gather",
    "all_gather_object",
    "all_reduce",
    "all_reduce_counts",
    "any_rank",
    "barrier",
    "broadcast",
    "broadcast_object_list",
    "start_gather",
    "start_reduce",
]

T = TypeVar("T")

_OPERATIONS = ("SUM", "AVG", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR")


def barrier(group: dist.ProcessGroup | None = None) -> None:
    """Wait until all ranks have come here.

    This makes processes wait, not GPUs: work that was started on a GPU may still be running.

    Args:
        group: the ranks that take part; all by default.
    """
    if is_alone("barrier"):
        return
    of_all_ranks = group is None
    if of_all_ranks and not _serves(None, "cpu"):
        group = control_group()
    with RECORD.begin("barrier", of_all_ranks):
        dist.barrier(group=group)


def all_reduce(
    tensor: Tensor, reduce_operation: str = "SUM", group: dist.ProcessGroup | None = None
) -> None:
    """Combine a tensor of all ranks, in place, so that every rank holds the result.

    Args:
        tensor: any shape, the same on all ranks.
        reduce_operation: ``'SUM'``, ``'AVG'`` (not with gloo), ``'PRODUCT'``, ``'MIN'``,
            ``'MAX'``, ``'BAND'``, ``'BOR'`` or ``'BXOR'``, in any case.
        group: the ranks that take part; all by default.

    Raises:
        UnknownNameError: there is no such operation.
    """
    operation = _operation(reduce_operation)
    if is_alone("all_reduce"):
        return
    with RECORD.begin("all_reduce", group is None):
        dist.all_reduce(tensor, op=operation, group=_group_for(tensor, group))


def broadcast(tensor: Tensor, src: int, group: dist.ProcessGroup | None = None) -> None:
    """Copy the tensor of one rank into those of all others, in place.

    Args:
        tensor: what to send on rank `src`, what to overwrite elsewhere; the same shape and type.
        src: global rank of the sender.
        group: the ranks that take part; all by default.
    """
    if is_alone("broadcast"):
        return
    with RECORD.begin("broadcast", group is None):
        dist.broadcast(tensor, src, group=_group_for(tensor, group))


def broadcast_object_list(
    object_list: list[Any], src: int = 0, group: dist.ProcessGroup | None = None
) -> None:
    """Copy a list of objects from one rank to all others, in place.

    Args:
        object_list: equally long on all ranks; items must be picklable.
        src: global rank of the sender.
        group: the ranks that take part; all by default.
    """
    if is_alone("broadcast_object_list"):
        return
    with RECORD.begin("broadcast_object_list", group is None):
        dist.broadcast_object_list(object_list, src, group=_group_for(None, group))


def all_gather(tensor: Tensor, group: dist.ProcessGroup | None = None) -> list[Tensor]:
    """Collect a tensor of all ranks on each of them.

    Args:
        tensor: any shape, the same on all ranks.
        group: the ranks that take part; all by default.

    Returns:
        One tensor per rank, in the order of ranks.
    """
    if is_alone("all_gather"):
        return [tensor]
    record = RECORD.begin("all_gather", group is None)
    group = _group_for(tensor, group)
    tensor = tensor.detach().contiguous()
    gathered = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
    with record:
        dist.all_gather(gathered, tensor, group=group)
    return gathered


def all_gather_object(obj: T, group: dist.ProcessGroup | None = None) -> list[T]:
    """Collect a picklable object of all ranks on each of them.

    Args:
        obj: this rank's object.
        group: the ranks that take part; all by default.

    Returns:
        One object per rank, in the order of ranks.
    """
    if is_alone("all_gather_object"):
        return [obj]
    record = RECORD.begin("all_gather_object", group is None)
    group = _group_for(None, group)
    gathered: list[Any] = [None] * dist.get_world_size(group)
    with record:
        dist.all_gather_object(gathered, obj, group=group)
    return gathered


class PendingNumbers:
    """Numbers that are being added up over the ranks; see `start_reduce`."""

    __slots__ = ("_numbers", "_tensor", "_work")

    def __init__(
        self, numbers: list[int | float], tensor: Tensor | None = None, work: Any = None
    ) -> None:
        self._numbers = numbers
        self._tensor = tensor
        self._work = work

    def wait(self) -> list[int | float]:
        """Wait for the result; further calls return it again.

        Returns:
            One number per number given; with several ranks an ``int`` where it is whole.
        """
        if self._tensor is not None:
            if self._work is not None:
                with RECORD:
                    self._work.wait()
            self._numbers = [int(x) if x.is_integer() else x for x in self._tensor.tolist()]
            self._tensor = self._work = None
        return self._numbers


def start_reduce(numbers: Sequence[int | float], reduce_operation: str = "SUM") -> PendingNumbers:
    """Start to combine plain numbers over all ranks and go on working meanwhile.

    One collective for all the numbers, on the CPU.

    Args:
        numbers: equally many on all ranks; whole numbers are exact up to 2 to the power of 53.
        reduce_operation: as in `all_reduce`, of which gloo knows SUM, PRODUCT, MIN and MAX here.

    Returns:
        A handle whose ``wait()`` gives the combined numbers.
    """
    if is_alone("start_reduce"):
        return PendingNumbers(list(numbers))
    tensor = torch.tensor(numbers, dtype=torch.float64, device="cpu")
    operation = _operation(reduce_operation)
    RECORD.begin("start_reduce")
    work = dist.all_reduce(tensor, op=operation, group=control_group(), async_op=True)
    return PendingNumbers([], tensor, work)


class PendingRows:
    """Numbers that are being collected from the ranks; see `start_gather`."""

    __slots__ = ("_rows", "_tensors", "_work")

    def __init__(
        self, rows: list[list[float]], tensors: Sequence[Tensor] = (), work: Any = None
    ) -> None:
        self._rows = rows
        self._tensors = tensors
        self._work = work

    def wait(self) -> list[list[float]]:
        """Wait for the result; further calls return it again.

        Returns:
            One list of numbers per rank, in the order of ranks.
        """
        if self._work is not None:
            with RECORD:
                self._work.wait()
            self._rows = [tensor.tolist() for tensor in self._tensors]
            self._tensors, self._work = (), None
        return self._rows


def start_gather(numbers: Sequence[int | float]) -> PendingRows:
    """Start to collect plain numbers of all ranks and go on working meanwhile.

    Args:
        numbers: equally many on all ranks.

    Returns:
        A handle whose ``wait()`` gives each rank's numbers.
    """
    if is_alone("start_gather"):
        return PendingRows([list(map(float, numbers))])
    tensor = torch.tensor(numbers, dtype=torch.float64, device="cpu")
    gathered = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    RECORD.begin("start_gather")
    work = dist.all_gather(gathered, tensor, group=control_group(), async_op=True)
    return PendingRows([], gathered, work)


def all_reduce_counts(
    numbers: Sequence[int | float], reduce_operation: str = "SUM"
) -> list[int | float]:
    """Combine plain numbers over all ranks; `start_reduce` and ``wait`` in one.

    Args:
        numbers: as in `start_reduce`.
        reduce_operation: as in `start_reduce`.

    Returns:
        The combined numbers.
    """
    return start_reduce(numbers, reduce_operation).wait()


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on at least one rank.

    Args:
        flag: this rank's flag.

    Returns:
        The same answer on all ranks.
    """
    if is_alone("any_rank"):
        return flag
    return bool(all_reduce_counts((flag,), "MAX")[0])


def _operation(name: str) -> dist.ReduceOp.RedOpType:
    found = getattr(dist.ReduceOp, name.upper(), None) if name.upper() in _OPERATIONS else None
    if found is None:
        raise unknown_name("reduce_operation", name, _OPERATIONS)
    return found


def _group_for(tensor: Tensor | None, group: dist.ProcessGroup | None) -> dist.ProcessGroup | None:
    """If the default group serves GPUs alone, what lies on the CPU uses the control group."""
    if group is not None or (tensor is not None and not tensor.is_cpu) or _serves(None, "cpu"):
        return group
    try:
        return control_group()
    except DistributedError:
        return None  # objects then travel through the GPU, and torch refuses CPU tensors


def _serves(group: dist.ProcessGroup | None, device_type: str) -> bool:
    return f"{device_type}:" in str(dist.get_backend_config(group))
