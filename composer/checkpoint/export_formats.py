"""Writes a model in each of the formats for inference; see :mod:`composer.checkpoint.export`."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from composer.checkpoint.weights_file import save_weights
from composer.errors import ConfigError
from composer.utils.import_helpers import import_extra

__all__ = ["WRITERS", "Call", "quiet"]

log = logging.getLogger(__name__)

# Positional and keyword arguments.
Call = tuple[tuple[Any, ...], dict[str, Any]]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what exporters tell their own developers."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _write_torch_export(
    model: torch.nn.Module, call: Call, path: str, options: dict[str, Any]
) -> None:
    with quiet():
        torch.export.save(_trace(model, call, options), path)


def _write_onnx(model: torch.nn.Module, call: Call, path: str, options: dict[str, Any]) -> None:
    import_extra("onnxscript", "export")
    names = {name: options[name] for name in ("input_names", "output_names", "opset_version")}
    with quiet():
        torch.onnx.export(
            _trace(model, call, options), call[0], path, dynamo=True, verbose=False, **names
        )


def _write_torchscript(
    model: torch.nn.Module, call: Call, path: str, options: dict[str, Any]
) -> None:
    del options
    with quiet():
        try:
            program = torch.jit.script(model)
        except Exception:  # noqa: BLE001 - the compiler fails in many ways; tracing is the other way
            log.info("the model cannot be scripted and is traced instead")
            arguments, keywords = call
            program = torch.jit.trace(model, arguments, example_kwarg_inputs=keywords or None)
        torch.jit.save(program, path)


def _write_safetensors(
    model: torch.nn.Module, call: Call | None, path: str, options: dict[str, Any]
) -> None:
    del call, options
    save_weights(model.state_dict(), path)


WRITERS: dict[str, Callable[[torch.nn.Module, Any, str, dict[str, Any]], None]] = {
    "onnx": _write_onnx,
    "torchscript": _write_torchscript,
    "torch_export": _write_torch_export,
    "safetensors": _write_safetensors,
}
"""How each format is written: model, call, path, options."""


def _trace(
    model: torch.nn.Module, call: Call, options: dict[str, Any]
) -> torch.export.ExportedProgram:
    """Record what the model computes; batches may have any size where the model allows it."""
    arguments, keywords = call
    by_name = dict(inspect.signature(model.forward).bind(*arguments, **keywords).arguments)
    axes = options["dynamic_axes"]
    if axes is not None:
        shapes = _given_shapes(by_name, axes, options["input_names"])
        return torch.export.export(model, arguments, keywords, dynamic_shapes=shapes)
    shapes = tree_map(_free_first_axis, by_name)
    try:
        return torch.export.export(model, arguments, keywords, dynamic_shapes=shapes)
    except Exception as error:  # noqa: BLE001 - tried again with fixed shapes, which may work
        log.warning(
            "the model depends on the size of the batch, so the export takes batches of the "
            "sample's size only (%s)",
            str(error).splitlines()[0] if str(error) else type(error).__name__,
        )
        return torch.export.export(model, arguments, keywords)


def _free_first_axis(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return None
    # An axis of length 1 would be taken for one that is always 1.
    return {0: torch.export.Dim.AUTO} if value.dim() and value.shape[0] > 1 else {}


def _given_shapes(
    by_name: dict[str, Any], axes: Mapping[str, Any], input_names: list[str] | None
) -> Any:
    leaves = [leaf for leaf in tree_leaves(by_name) if isinstance(leaf, torch.Tensor)]
    if input_names is None or len(input_names) != len(leaves):
        raise ConfigError(
            f"dynamic_axes names inputs, so input_names must name all {len(leaves)} of them, got "
            f"{input_names!r}"
        )
    names = iter(input_names)

    def shape_of(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return None
        return dict.fromkeys(axes.get(next(names), ()), torch.export.Dim.AUTO)

    return tree_map(shape_of, by_name)
