"""A trained model as a file that runs without Composer.

``torch_export`` is a program that torch loads without the model's Python code; ``onnx`` is read by
other runtimes; ``safetensors`` holds the weights alone; ``torchscript`` is for runtimes that still
need it. Whatever is written is loaded again and compared with the model before it gets its name.
"""

from __future__ import annotations

import copy
import functools
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from composer.checkpoint.export_check import check_export
from composer.checkpoint.export_formats import WRITERS, Call
from composer.checkpoint.load_run import read_checkpoint
from composer.core.logger import Logger
from composer.errors import ConfigError
from composer.utils.iter_helpers import ensure_tuple
from composer.utils.model_helpers import model_eval_mode
from composer.utils.string_enum import StringEnum

__all__ = [
    "ExportFormat",
    "Transform",
    "export_for_inference",
    "export_with_logger",
    "quantize_dynamic",
]

log = logging.getLogger(__name__)

Transform = Callable[[torch.nn.Module], torch.nn.Module]
"""Changes a copy of the model before it is exported."""


class ExportFormat(StringEnum):
    """What a model can be exported as."""

    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch_export"
    SAFETENSORS = "safetensors"


def _quantize(model: torch.nn.Module, **options: Any) -> torch.nn.Module:
    with warnings.catch_warnings():
        # torch points to torchao, which has no counterpart for LSTM yet.
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, **options)


quantize_dynamic = functools.partial(
    _quantize, qconfig_spec={torch.nn.Linear, torch.nn.LSTM}, dtype=torch.qint8
)
"""A transform: weights of linear layers and LSTMs become 8-bit integers, for CPUs."""


def export_for_inference(
    model: torch.nn.Module,
    save_format: str | ExportFormat,
    save_path: str,
    save_object_store: Any = None,
    sample_input: Any = None,
    dynamic_axes: Mapping[str, Any] | None = None,
    surgery_algs: Callable[[torch.nn.Module], Any]
    | Sequence[Callable[[torch.nn.Module], Any]]
    | None = None,
    transforms: Sequence[Transform] | None = None,
    onnx_opset_version: int | None = None,
    load_path: str | None = None,
    load_object_store: Any = None,
    load_strict: bool = False,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> None:
    """Export a model, and check the file by loading it and comparing outputs.

    The model itself stays as it is: a copy in evaluation mode on the CPU is exported.

    Args:
        model: the model.
        save_format: what to write.
        save_path: the file. ONNX puts weights of more than 2 GB beside it.
        save_object_store: where to put the file, if not here; ``save_path`` is its name there.
        sample_input: arguments the model is called with: a tuple, of which a dict at the end holds
            keyword arguments, or the only argument. A Composer model takes a batch, which is one
            argument: ``(batch, {})``. Needed for all formats but ``safetensors``, and there to
            compare outputs as well.
        dynamic_axes: which axes may change, as ``{name: {axis: axis's name}}`` over names in
            ``input_names``; by default the first axis of every tensor, where the model allows it.
        surgery_algs: functions that change the model as methods did in training, before weights
            are loaded.
        transforms: functions that change the copy, applied in order, such as
            :data:`quantize_dynamic`.
        onnx_opset_version: version of ONNX's operators; the exporter's own by default.
        load_path: a checkpoint to take the weights from.
        load_object_store: where it is, if not here.
        load_strict: whether its weights must match the model's names exactly.
        input_names: names of the inputs in an ONNX file.
        output_names: names of the outputs in an ONNX file.

    Raises:
        ValueError: an unknown format, or no sample where one is needed.
        RuntimeError: the file gives other outputs than the model; it is not kept.
        ImportError: a package is missing that the format needs.
    """
    chosen = ExportFormat(save_format)
    if load_object_store is not None:
        raise ConfigError("load_object_store is not supported: give load_path as an address")
    call = None if sample_input is None else _as_call(sample_input)
    if call is None and chosen is not ExportFormat.SAFETENSORS:
        raise ConfigError(
            f"sample_input is missing: to export as {chosen.value!r} the model is called with it"
        )
    copied = _copy_on_cpu(model)
    for surgery in ensure_tuple(surgery_algs):
        surgery(copied)
    if load_path is not None:
        weights = read_checkpoint(load_path)["state"]["model"]
        copied.load_state_dict(weights, strict=load_strict)
    for transform in ensure_tuple(transforms):
        copied = transform(copied)
    options: dict[str, Any] = {
        "dynamic_axes": dynamic_axes,
        "opset_version": onnx_opset_version,
        "input_names": None if input_names is None else list(input_names),
        "output_names": None if output_names is None else list(output_names),
    }
    with model_eval_mode(copied), _placed_after(save_path, save_object_store) as aside:
        WRITERS[chosen.value](copied, call, aside, options)
        check_export(chosen.value, copied, call, aside)
    log.info("exported the model as %s: %s", chosen.value, save_path)


def export_with_logger(
    model: torch.nn.Module,
    save_format: str | ExportFormat,
    save_path: str,
    logger: Logger,
    save_object_store: Any = None,
    sample_input: Any = None,
    transforms: Sequence[Transform] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> None:
    """Export a model, and give the file to logger destinations that keep files, if there are any.

    Args:
        model: the model.
        save_format: what to write.
        save_path: the file, or its name at the destinations.
        logger: the run's logger.
        save_object_store: where to put the file instead.
        sample_input: as in :func:`export_for_inference`, like all that follow.
        transforms: functions that change the copy.
        input_names: names of the inputs in an ONNX file.
        output_names: names of the outputs in an ONNX file.
    """

    def export(path: str, store: Any) -> None:
        export_for_inference(
            model,
            save_format,
            path,
            store,
            sample_input,
            transforms=transforms,
            input_names=input_names,
            output_names=output_names,
        )

    if save_object_store is not None or not logger.has_file_upload_destination():
        export(save_path, save_object_store)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, os.path.basename(save_path))
        export(path, None)
        logger.upload_file(remote_file_name=save_path, file_path=path)


def _as_call(sample: Any) -> Call:
    arguments = sample if isinstance(sample, tuple) else (sample,)
    keywords: dict[str, Any] = {}
    if len(arguments) > 1 and isinstance(arguments[-1], dict):
        *positional, keywords = arguments
        arguments = tuple(positional)
    return tree_map_only(torch.Tensor, lambda tensor: tensor.detach().cpu(), (arguments, keywords))


def _copy_on_cpu(model: torch.nn.Module) -> torch.nn.Module:
    # The run's logger hangs on a Composer model, and the whole run on the logger.
    logger = getattr(model, "logger", None)
    copied = copy.deepcopy(model, {id(logger): None}).cpu()
    for module in copied.modules():
        module.zero_grad(set_to_none=True)
    return copied


@contextmanager
def _placed_after(path: str, object_store: Any) -> Iterator[str]:
    """Give a path to write to; what was written gets its name when the block ends well."""
    folder = os.path.dirname(os.path.abspath(path)) if object_store is None else None
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as aside:
        yield os.path.join(aside, os.path.basename(path))
        # What belongs to a file lies beside it; the file itself gets its name last.
        names = sorted(os.listdir(aside), key=lambda name: name == os.path.basename(path))
        for name in names:
            made = os.path.join(aside, name)
            if object_store is None:
                os.replace(made, os.path.join(os.path.dirname(os.path.abspath(path)), name))
            else:
                remote = os.path.join(os.path.dirname(path), name)
                object_store.upload_object(object_name=remote, filename=made)
