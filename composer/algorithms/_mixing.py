"""What MixUp and CutMix share: random numbers, mixed targets, interpolated losses.

Both pair each sample of a microbatch with another one. The share ``lambda`` is drawn on the host
from torch's CPU generator, whose state every checkpoint keeps; the pairing is drawn where the batch
lies, so that nothing waits for a device.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from composer.algorithms._checks import check_tensor
from composer.core.algorithm import Algorithm, Order
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.precision import get_precision_context
from composer.core.state import State
from composer.errors import ArgumentTypeError, ConfigError, StateError
from composer.loss.utils import ensure_targets_one_hot

__all__ = ["Key", "SampleMixing", "draw_beta", "draw_pairing", "interpolate", "mix_targets"]

Key = str | int | Callable[..., Any] | Sequence[Any]
"""Where something lies in a batch, see :meth:`State.batch_get_item`."""


def draw_beta(alpha: float) -> float:
    """Return a number drawn from Beta(alpha, alpha), ``alpha > 0``, with torch's CPU generator."""
    # What torch.distributions.Beta does, without the objects it makes on the way.
    shares = torch._sample_dirichlet(torch.tensor([alpha, alpha], dtype=torch.float64))
    return shares.tolist()[0]


def draw_pairing(samples: Tensor) -> Tensor:
    """Return a random permutation of the samples, int64, shape (N), on their device."""
    return torch.randperm(samples.shape[0], device=samples.device)


def mix_targets(outputs: Tensor, targets: Tensor, pairing: Tensor, share: float) -> Tensor:
    """Return ``(1 - share) * targets + share * targets[pairing]`` as probabilities.

    Args:
        outputs: the model's scores, shape (N, C) or (N, C, ...); they tell the number of classes.
        targets: class indices, shape (N) or (N, ...), or probabilities, shape of ``outputs``.
        pairing: the partner of each sample, int64, shape (N).
        share: weight of the partners, in [0, 1].

    Returns:
        float32 probabilities, shape of ``outputs``.
    """
    dense = ensure_targets_one_hot(outputs, targets)
    return torch.lerp(dense, dense[pairing], share)


def interpolate(loss: Any, other: Any, share: float) -> Any:
    """Return ``(1 - share) * loss + share * other``, entry by entry where there are several.

    Args:
        loss: a tensor, a mapping or a sequence of tensors: what a model's ``loss`` returns.
        other: of the same structure.
        share: weight of ``other``.

    Raises:
        TypeError: the losses are none of these.
    """
    if isinstance(loss, Tensor):
        return (1 - share) * loss + share * other
    if isinstance(loss, Mapping):
        return {name: interpolate(part, other[name], share) for name, part in loss.items()}
    if isinstance(loss, Sequence) and not isinstance(loss, str):
        return [interpolate(a, b, share) for a, b in zip(loss, other, strict=True)]
    raise ArgumentTypeError(f"cannot interpolate losses of type {type(loss).__name__}")


class SampleMixing(Algorithm):
    """Mixes the samples of each microbatch, and their targets or their losses alike.

    It acts after other methods before the loss and ahead of them after it (``Order.LAST``): so it
    mixes the targets that the loss really uses, smoothed ones for instance, whatever order the
    user gave.

    Args:
        interpolate_loss: mix losses instead of targets; for losses that take no dense targets, at
            the cost of computing the loss twice.
        input_key: where the inputs lie in a batch.
        target_key: where the targets lie in a batch.
    """

    order = Order.LAST
    writes = ("batch", "loss")

    def __init__(self, interpolate_loss: bool, input_key: Key, target_key: Key) -> None:
        self.interpolate_loss = interpolate_loss
        self.input_key = input_key
        self.target_key = target_key
        self.events = {
            Event.BEFORE_FORWARD: "mix_inputs",
            Event.AFTER_BACKWARD: "restore_inputs",
        }
        if interpolate_loss:
            self.events |= {
                Event.INIT: "check_place",
                Event.AFTER_LOSS: "note_targets",
                Event.BEFORE_BACKWARD: "mix_losses",
            }
        else:
            self.events |= {Event.BEFORE_LOSS: "mix_targets", Event.AFTER_LOSS: "restore_targets"}
        # Of the current microbatch: the pairing, the partners' share, and what is put aside.
        self._pairing: Tensor | None = None
        self._share = 0.0
        self._inputs: Any = None
        self._targets: Any = None

    def check_place(self, state: State, logger: Logger) -> None:
        """Refuse to interpolate losses where samples are mixed once more afterwards.

        Raises:
            ValueError: a later method mixes samples too. The losses interpolated are then those of
                samples that the model never saw.
        """
        later = state.algorithms[state.algorithms.index(self) + 1 :]
        others = [type(each).__name__ for each in later if isinstance(each, SampleMixing)]
        if self.interpolate_loss and others:
            raise ConfigError(
                f"{type(self).__name__}(interpolate_loss=True) must be the last of the methods "
                f"that mix samples, and {' and '.join(others)} comes after it. Give it last, or "
                "let it mix targets with interpolate_loss=False"
            )

    @abstractmethod
    def blend(self, inputs: Tensor, pairing: Tensor) -> tuple[Tensor, float]:
        """Return mixed inputs and the partners' share in them."""

    def mix_inputs(self, state: State, logger: Logger) -> None:
        """Give the model mixed inputs."""
        self._inputs = state.batch_get_item(self.input_key)
        inputs = check_tensor(self, "inputs", self._inputs)
        self._pairing = draw_pairing(inputs)
        mixed, self._share = self.blend(inputs, self._pairing)
        state.batch_set_item(self.input_key, mixed)

    def restore_inputs(self, state: State, logger: Logger) -> None:
        """Give the batch its own inputs back: an optimizer may ask for its gradients again."""
        state.batch_set_item(self.input_key, self._inputs)
        self._inputs = self._targets = self._pairing = None

    def combine(self, outputs: Tensor, targets: Tensor, pairing: Tensor) -> Tensor:
        """Return the targets of the mixed samples."""
        return mix_targets(outputs, targets, pairing, self._share)

    def mix_targets(self, state: State, logger: Logger) -> None:
        """Give the loss the mixed targets."""
        outputs = check_tensor(self, "outputs", state.outputs)
        self._targets = state.batch_get_item(self.target_key)
        targets = check_tensor(self, "targets", self._targets)
        mixed = self.combine(outputs, targets, self._known_pairing())
        state.batch_set_item(self.target_key, mixed)

    def restore_targets(self, state: State, logger: Logger) -> None:
        """Give the batch its own targets back."""
        state.batch_set_item(self.target_key, self._targets)

    def _known_pairing(self) -> Tensor:
        if self._pairing is None:
            raise StateError(f"{type(self).__name__} met a loss without a forward pass before it")
        return self._pairing

    def note_targets(self, state: State, logger: Logger) -> None:
        """Keep the targets that the loss used, before other methods restore theirs."""
        self._targets = state.batch_get_item(self.target_key)

    def mix_losses(self, state: State, logger: Logger) -> None:
        """Add the loss against the partners' targets, each loss with its share."""
        own = state.batch_get_item(self.target_key)
        targets = check_tensor(self, "targets", self._targets)
        state.batch_set_item(self.target_key, targets[self._known_pairing()])
        with get_precision_context(
            state.precision, state.precision_config, device_type=targets.device.type
        ):
            other = state.model.loss(state.outputs, state.batch)
        state.batch_set_item(self.target_key, own)
        state.loss = interpolate(state.loss, other, self._share)
