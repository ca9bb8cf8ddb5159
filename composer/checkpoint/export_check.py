"""Loads what was exported and compares it with the model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from composer.checkpoint.export_formats import Call, quiet
from composer.errors import CheckpointError
from composer.utils.import_helpers import import_extra

__all__ = ["check_export"]

log = logging.getLogger(__name__)

# Fused and reordered operations round differently.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


def check_export(save_format: str, model: torch.nn.Module, call: Call | None, path: str) -> None:
    """Load an exported model and compare its outputs with the model's.

    Args:
        save_format: what it was exported as.
        model: the model, in evaluation mode on the CPU.
        call: what both are called with; ``None`` compares weights only.
        path: the file.

    Raises:
        RuntimeError: they differ.
    """
    if call is None or save_format == "safetensors":
        _check_weights(model, path)
        return
    run = _LOADERS[save_format](path)
    with torch.no_grad(), quiet():
        expected = _tensors(model(*_copied(call[0]), **_copied(call[1])))
        found = _tensors(run(_copied(call)))
    if len(expected) != len(found):
        raise CheckpointError(
            f"the model exported as {save_format!r} gives {len(found)} outputs instead of "
            f"{len(expected)}"
        )
    for index, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
        _compare(ours, theirs, index, save_format)


def _check_weights(model: torch.nn.Module, path: str) -> None:
    loaded = import_extra("safetensors.torch", "safetensors").load_file(path)
    for name, tensor in model.state_dict().items():
        same = name in loaded and torch.equal(
            loaded[name].view(torch.uint8) if tensor.dim() else loaded[name],
            tensor.contiguous().view(torch.uint8) if tensor.dim() else tensor,
        )
        if not same:
            raise CheckpointError(f"the exported weights differ from the model's in {name!r}")


def _compare(ours: torch.Tensor, theirs: torch.Tensor, index: int, save_format: str) -> None:
    if ours.shape != theirs.shape:
        raise CheckpointError(
            f"output {index} of the model exported as {save_format!r} has the shape "
            f"{tuple(theirs.shape)} instead of {tuple(ours.shape)}"
        )
    if not torch.allclose(
        theirs.double(), ours.double(), rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True
    ):
        difference = (theirs.double() - ours.double()).abs().max().item()
        raise CheckpointError(
            f"output {index} of the model exported as {save_format!r} differs from the model's by "
            f"up to {difference:.3g}. Export in another format, or simplify the model's forward."
        )


def _load_torch_export(path: str) -> Callable[[Call], Any]:
    with quiet():
        module = torch.export.load(path).module()
    return lambda call: module(*call[0], **call[1])


def _load_torchscript(path: str) -> Callable[[Call], Any]:
    with quiet():
        module = torch.jit.load(path)
    return lambda call: module(*call[0], **call[1])


def _load_onnx(path: str) -> Callable[[Call], Any]:
    session = import_extra("onnxruntime", "export").InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_inputs()]

    def run(call: Call) -> Any:
        arrays = [tensor.numpy() for tensor in _tensors(call)]
        given = dict(zip(names, arrays, strict=True))
        return [torch.from_numpy(array) for array in session.run(None, given)]

    return run


_LOADERS: dict[str, Callable[[str], Callable[[Call], Any]]] = {
    "onnx": _load_onnx,
    "torchscript": _load_torchscript,
    "torch_export": _load_torch_export,
}


def _copied(value: Any) -> Any:
    return tree_map_only(torch.Tensor, lambda tensor: tensor.clone(), value)


def _tensors(value: Any) -> list[torch.Tensor]:
    leaves = tree_leaves(value)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
