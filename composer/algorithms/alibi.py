"""ALiBi: attention with linear biases in place of position embeddings.

Paper: Press, Smith, Lewis, "Train Short, Test Long: Attention with Linear Biases Enables Input
Length Extrapolation", 2021, arXiv:2108.12409.

Idea: each head's scores fall linearly with the distance between query and key, each head with a
slope of its own, and there are no position embeddings. Models so trained can be evaluated on longer
sequences than they were trained on, so training can use shorter ones.

When it helps: language models that are trained from scratch on short sequences and used on longer
ones. When it hurts: pretrained position embeddings are lost; rotary embeddings are the more usual
choice today, and fast attention kernels without a place for biases cannot be used.

Suggested values: ``max_sequence_length`` as long as evaluation needs;
``train_sequence_length_scaling=0.25`` trains on quarter sequences, four times as many, of which
attention costs less. A checkpoint trained with it needs it on load.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from composer.algorithms._alibi_attention import Policy, known_policies
from composer.algorithms._checks import check_number, check_whole, warn_no_effect
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import DataError
from composer.utils.iter_helpers import ensure_tuple
from composer.utils.module_surgery import replace_module_classes
from composer.utils.optimizer_surgery import swap_parameters

__all__ = ["Alibi", "apply_alibi"]


def apply_alibi(
    model: nn.Module,
    max_sequence_length: int,
    optimizers: Optimizer | Sequence[Optimizer] | None = None,
) -> None:
    """Give the attention layers of a model linear biases, and switch its position embeddings off.

    torch's ``MultiheadAttention`` (as self-attention) and the GPT-2, BERT and RoBERTa models of
    transformers are known; other classes can be registered, see
    :mod:`composer.algorithms.alibi.attention_surgery_functions`.

    Args:
        model: the model, changed in place. A `NoEffectWarning` says so if it has no such layer.
        max_sequence_length: the longest sequence the model will see, >= 1.
        optimizers: optimizers of the model's parameters; position embeddings leave them.

    Raises:
        ValueError: ``max_sequence_length`` is out of range, or attention takes no biases.
    """
    check_whole("max_sequence_length", max_sequence_length, 1)
    policies = known_policies()
    before = dict(model.named_parameters())
    matched: list[nn.Module] = []
    # In a shell, because the model itself may be of a known class.
    shell = nn.ModuleList([model])
    replace_module_classes(
        shell,
        {cls: _counted(policy, max_sequence_length, matched) for cls, policy in policies.items()},
        optimizers,
    )
    if not matched and not any(_has_alibi(module) for module in model.modules()):
        names = sorted(cls.__name__ for cls in policies)
        advice = "register a policy for its attention layers"
        warn_no_effect("Alibi", model, ", ".join(names), advice)
    kept = set(model.parameters())
    gone = {name: parameter for name, parameter in before.items() if parameter not in kept}
    swap_parameters(gone, {}, ensure_tuple(optimizers))


def _counted(
    policy: Policy, max_sequence_length: int, matched: list[nn.Module]
) -> Callable[[nn.Module, int], nn.Module | None]:
    def apply(module: nn.Module, index: int) -> nn.Module | None:
        if _has_alibi(module):
            return None
        new = policy(module, index, max_sequence_length)
        if new is not None:
            matched.append(new)
        return new

    return apply


def _has_alibi(module: nn.Module) -> bool:
    return "alibi" in module._buffers


class Alibi(Algorithm):
    """Use linear biases for positions, and train on shorter sequences; see :func:`apply_alibi`.

    Batches that are mappings are reshaped in training: each tensor of shape (B, L) becomes
    (B / s, L * s), so that no token is lost.

    Args:
        max_sequence_length: the longest sequence the model will see, >= 1.
        train_sequence_length_scaling: ``s``, in (0, 1]; 1 leaves batches as they are.

    Raises:
        ValueError: an argument is out of range.
    """

    writes = ("model", "optimizers", "batch")

    def __init__(
        self, max_sequence_length: int, train_sequence_length_scaling: float = 0.25
    ) -> None:
        check_whole("max_sequence_length", max_sequence_length, 1)
        check_number(
            "train_sequence_length_scaling", train_sequence_length_scaling, high=1, above=0
        )
        self.max_sequence_length = max_sequence_length
        self.train_sequence_length_scaling = train_sequence_length_scaling
        self.events: Mapping[Event, str] = {Event.INIT: "convert"}
        if train_sequence_length_scaling != 1:
            self.events = {Event.INIT: "convert", Event.AFTER_DATALOADER: "shorten"}

    @staticmethod
    def required_on_load() -> bool:
        """Return True: without it the model would not know positions."""
        return True

    def convert(self, state: State, logger: Logger) -> None:
        """Change the model."""
        apply_alibi(state.model, self.max_sequence_length, state.optimizers)

    def shorten(self, state: State, logger: Logger) -> None:
        """Cut the sequences of a batch, and make more of them."""
        batch = state.batch
        if not isinstance(batch, Mapping):
            raise DataError(
                f"Alibi shortens the sequences of batches that are mappings, got a "
                f"{type(batch).__name__}; use train_sequence_length_scaling=1 for others"
            )
        state.batch = {name: self._shortened(name, value) for name, value in batch.items()}

    def _shortened(self, name: str, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.ndim != 2:
            return value
        length = value.shape[1] * self.train_sequence_length_scaling
        if length != int(length) or value.numel() % int(length):
            raise DataError(
                f"the tensor {name!r} of shape {tuple(value.shape)} cannot be cut into sequences "
                f"of {length:g} tokens, as "
                f"train_sequence_length_scaling={self.train_sequence_length_scaling!r} asks"
            )
        return value.reshape(-1, int(length))
