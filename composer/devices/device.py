"""Where tensors live: the base class of CPU, GPU and MPS.

A `Device` moves modules, tensors, batches and optimizer state. It knows nothing of ranks; the
process group is made by `composer.distributed.comm`, which asks the device for its `dist_backend`.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

__all__ = ["Device"]

ModuleT = TypeVar("ModuleT", bound=torch.nn.Module)


class Device(ABC):
    """A place for tensors.

    Attributes:
        name: ``'cpu'``, ``'gpu'`` or ``'mps'``; used in metric names and messages.
        dist_backend: the ``torch.distributed`` backend for tensors that live here; ``''`` if there
            is none.
        torch_device: the place as torch names it.
    """

    name: str = ""
    dist_backend: str = ""
    torch_device: torch.device

    @abstractmethod
    def tensor_to_device(self, tensor: Tensor) -> Tensor:
        """Move one tensor here.

        Args:
            tensor: any tensor.

        Returns:
            The tensor here; the same object if it was here already.
        """

    def module_to_device(self, module: ModuleT) -> ModuleT:
        """Move a module's parameters and buffers here, in place.

        Args:
            module: the module to move.

        Returns:
            The same module.
        """
        return module.to(self.torch_device)

    def batch_to_device(self, batch: Any) -> Any:
        """Move the tensors of a batch here, however deep they are nested.

        Mappings, sequences and named tuples are rebuilt with their own type; every other object
        is left alone. A part in which nothing had to move is returned as it is, so that on the
        CPU a batch passes through without a copy.

        Args:
            batch: a tensor, or mappings and sequences of tensors and other objects.

        Returns:
            The batch with all its tensors here.
        """
        if isinstance(batch, Tensor):
            return self.tensor_to_device(batch)
        if isinstance(batch, (str, bytes, int, float)) or batch is None:
            return batch
        if isinstance(batch, Mapping):
            return self._mapping_to_device(cast("Mapping[Any, Any]", batch))
        if isinstance(batch, Sequence):
            return self._sequence_to_device(cast("Sequence[Any]", batch))
        return batch

    def _mapping_to_device(self, batch: Mapping[Any, Any]) -> Any:
        moved: dict[Any, Any] = {}
        for key, value in batch.items():
            new = self.batch_to_device(value)
            if new is not value:
                moved[key] = new
        if not moved:
            return batch
        if type(batch) is dict:
            return {**batch, **moved}
        if isinstance(batch, MutableMapping):
            # A shallow copy keeps the type and whatever else it carries (tokenizer encodings do).
            copied = copy.copy(batch)
            for key, value in moved.items():
                copied[key] = value
            return copied
        return {**batch, **moved}

    def _sequence_to_device(self, batch: Sequence[Any]) -> Any:
        if isinstance(batch, range):
            return batch
        if isinstance(batch, PackedSequence):
            # A named tuple by type, but its lengths must stay on the CPU; it knows how to move.
            here = batch.data.device == self.torch_device
            return batch if here else cast("Any", batch).to(self.torch_device)
        items = [self.batch_to_device(item) for item in batch]
        if all(new is old for new, old in zip(items, batch, strict=True)):
            return batch
        return _rebuild(type(batch), items)

    def optimizer_to_device(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Move an optimizer's state here, in place.

        The step counters of an optimizer that is neither fused nor capturable stay on the CPU:
        on a GPU each step would wait for the device to read them.

        Args:
            optimizer: the optimizer whose state to move.

        Returns:
            The same optimizer.
        """
        for group in optimizer.param_groups:
            move_steps = bool(group.get("fused") or group.get("capturable"))
            for parameter in cast("Iterable[Tensor]", group["params"]):
                state = optimizer.state.get(parameter)
                if state:
                    self._state_to_device(cast("dict[str, Any]", state), move_steps)
        return optimizer

    def _state_to_device(self, state: dict[str, Any], move_steps: bool) -> None:
        for key, value in state.items():
            if key != "step" or move_steps:
                state[key] = self.batch_to_device(value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.torch_device)!r})"


def _rebuild(kind: type[Sequence[Any]], items: list[Any]) -> Sequence[Any]:
    """Put items back into the kind of sequence they came from, or a list if it cannot be made."""
    if kind is list:
        return items
    if hasattr(kind, "_fields"):  # a named tuple takes its items one by one
        return cast("Any", kind)(*items)
    try:
        return cast("Any", kind)(items)
    except TypeError:
        return items
