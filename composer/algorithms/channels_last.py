"""Channels last: keep image weights in the memory order that convolution units read fastest.

Source: PyTorch, "Channels Last Memory Format", the NHWC layout of tensor cores.

Idea: parameters and buffers of four dimensions are stored with the channels next to each other
(five dimensions likewise, ``channels_last_3d``). Convolutions with such weights return such
outputs, so activations follow by themselves and inputs need no change.

When it helps: convolutional networks in reduced precision on GPUs with tensor
cores; also on CPUs. When it hurts: with operations that only know the usual order each use is
copied; old GPUs and plain float32 may get slower. Results change by rounding only.

Suggested values: none, there is nothing to set. Combine with ``precision='amp_bf16'``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from composer.algorithms._checks import warn_no_effect
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State

__all__ = ["ChannelsLast", "apply_channels_last"]

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def apply_channels_last(model: torch.nn.Module) -> None:
    """Store the model's parameters and buffers of 4 and 5 dimensions channels last, in place.

    Parameters stay the objects they are, so optimizers need not know.

    Args:
        model: the model. A `NoEffectWarning` says so if it has no such parameter.
    """
    changed = 0
    for tensor in (*model.parameters(), *model.buffers()):
        memory_format = _FORMATS.get(tensor.ndim)
        if memory_format is not None:
            tensor.data = tensor.data.contiguous(memory_format=memory_format)
            changed += 1
    if not changed:
        wanted = "parameters of 4 or 5 dimensions, such as those of Conv2d and Conv3d"
        warn_no_effect("ChannelsLast", model, wanted)


class ChannelsLast(Algorithm):
    """Store the model channels last before training; see :func:`apply_channels_last`."""

    events: Mapping[Event, str] = {Event.INIT: "convert"}
    writes = ("model",)

    def __init__(self) -> None:
        pass

    def convert(self, state: State, logger: Logger) -> None:
        """Convert the model."""
        apply_channels_last(state.model)
