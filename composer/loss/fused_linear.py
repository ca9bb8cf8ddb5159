"""Cross entropy of a linear layer's scores, without ever holding all scores at once.

A language model's last layer gives each token a score for every entry of the vocabulary. With a
large vocabulary these scores and their gradients take more memory than the rest of the model. Here
the layer and the loss are one operation that goes through the tokens in chunks: the scores of a
chunk are computed, turned into losses and gradients, and forgotten.

Source: Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language Models"
(arXiv:2411.09009); gradients during the forward pass as in Hsu et al. 2024, "Liger Kernel"
(arXiv:2410.10989); z-loss from Chowdhery et al. 2022, "PaLM" (arXiv:2204.02311), section 5.
Ours: plain torch, so it runs anywhere. The kernels of the first two are used where installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from composer.core.data_spec import IGNORED_LABEL
from composer.errors import ConfigError, TargetShapeError, unknown_name
from composer.loss._fused_kernels import LossOptions, choose_kernel

__all__ = ["linear_cross_entropy"]

_REDUCTIONS = ("mean", "sum", "none")
# Scores in a chunk. On a CPU they should stay near the cache; a GPU needs many rows to be busy.
_SCORES_ON_CPU = 2**22
_SCORES_ELSEWHERE = 2**27
# Fewer rows than these and the product with the weight waits for the weight.
_FEWEST_ROWS = 64

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    *,
    ignore_index: int = IGNORED_LABEL,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    reduction: str = "mean",
    kernel: str = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    """Return ``cross_entropy(hidden @ weight.T + bias, target)``, in chunks of tokens.

    Values and gradients are those of the two steps apart, but for rounding. Under autocast the
    products are computed in its number format; losses, and sums over chunks, in float32 or better.
    Second derivatives are not available.

    Args:
        hidden: the layer's input, shape (..., H).
        weight: the layer's weight, shape (V, H).
        target: class indices in [0, V), shape (...).
        bias: the layer's bias, shape (V).
        ignore_index: target of tokens that do not count.
        label_smoothing: share of each target that is spread over all classes, in [0, 1].
        z_loss: factor on the squared log of the softmax's denominator, added to each token's loss;
            at least 0. It keeps scores from drifting away; 1e-4 is usual.
        reduction: ``"mean"`` over the tokens that count (NaN if none does), ``"sum"``, or
            ``"none"``, which computes the scores once more in the backward pass.
        kernel: ``"torch"`` for the code here; ``"cut"`` (package ``cut-cross-entropy``) or
            ``"liger"`` (``liger-kernel``), on CUDA; ``"auto"`` takes one of these where it is
            installed and can do what is asked.
        chunk_size: tokens in a chunk, for ``"torch"``; by default what suits the device.

    Returns:
        A scalar, or for ``"none"`` shape (...); at least float32.

    Raises:
        TargetShapeError: the shapes do not fit together.
        ConfigError: an argument is out of range, or the kernel cannot do it.
        MissingDependencyError: the kernel is not installed.

    Example:
        >>> hidden, weight = torch.randn(2, 5, 8), torch.randn(100, 8)
        >>> labels = torch.randint(100, (2, 5))
        >>> fused = linear_cross_entropy(hidden, weight, labels)
        >>> plain = F.cross_entropy((hidden @ weight.T).flatten(0, 1), labels.flatten())
        >>> torch.allclose(fused, plain, atol=1e-5)
        True
    """
    _check_numbers(label_smoothing, z_loss, reduction, chunk_size)
    _check_shapes(hidden, weight, target, bias)
    options = LossOptions(ignore_index, label_smoothing, z_loss, reduction)
    dtype = _product_dtype(hidden)
    flat, labels = hidden.reshape(-1, hidden.shape[-1]), target.reshape(-1)
    found = choose_kernel(kernel, flat.device.type, dtype, options)
    with torch.autocast(flat.device.type, enabled=False):
        if found is not None:
            loss = found(flat.to(dtype), weight.to(dtype), labels, bias, options)
        else:
            plan = _Plan(options, dtype, chunk_size or _default_chunk(flat, weight))
            loss = _chunked(flat, weight, bias, labels, plan)
    return loss.view(target.shape) if reduction == "none" else loss


class _Plan(NamedTuple):
    """How the chunks are computed: the loss, the number format of products, rows of a chunk."""

    options: LossOptions
    dtype: torch.dtype
    rows: int


def _chunked(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, plan: _Plan
) -> Tensor:
    if plan.options.reduction == "none":
        return _EachToken.apply(hidden, weight, bias, target, plan)
    counts = target != plan.options.ignore_index
    factor = torch.ones((), dtype=_sum_dtype(plan.dtype), device=hidden.device)
    if plan.options.reduction == "mean":
        factor = factor / counts.sum()
    if not torch.is_grad_enabled():
        return _sweep(hidden, weight, bias, target, plan)[0].sum() * factor
    return _AllTokens.apply(hidden, weight, bias, target, factor, plan)


class _AllTokens(torch.autograd.Function):
    """The sum of all losses times a factor; gradients are computed on the way forward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        factor: Tensor,
        plan: _Plan,
    ) -> Tensor:
        wants = ctx.needs_input_grad[:3]
        factors = factor.expand(target.shape) if any(wants) else None
        losses, gradients = _sweep(hidden, weight, bias, target, plan, factors, wants)
        ctx.save_for_backward(*gradients)
        ctx.dtypes = [None if each is None else each.dtype for each in (hidden, weight, bias)]
        return losses.sum() * factor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - once_differentiable hides its type
        scaled = (
            None if each is None else (each * grads[0]).to(dtype)
            for each, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return *scaled, None, None, None


class _EachToken(torch.autograd.Function):
    """The loss of each token; what each will weigh is known only on the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        plan: _Plan,
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight, bias, target)
        ctx.plan = plan
        return _sweep(hidden, weight, bias, target, plan)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - once_differentiable hides its type
        hidden, weight, bias, target = ctx.saved_tensors
        wants = ctx.needs_input_grad[:3]
        _, gradients = _sweep(hidden, weight, bias, target, ctx.plan, grads[0], wants)
        inputs = (hidden, weight, bias)
        own = (
            None if each is None else each.to(given.dtype)
            for each, given in zip(gradients, inputs, strict=True)
        )
        return *own, None, None


def _sweep(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    plan: _Plan,
    factors: Tensor | None = None,
    wants: tuple[bool, ...] = (False, False, False),
) -> tuple[Tensor, Gradients]:
    """Go through the tokens once.

    Args:
        hidden: shape (T, H).
        weight: shape (V, H).
        bias: shape (V), or ``None``.
        target: shape (T).
        plan: how.
        factors: shape (T): what each token's loss weighs in what the gradients are of.
        wants: whether gradients of hidden, weight and bias are wanted.

    Returns:
        The losses, 0 for tokens that do not count; and the gradients of their sum times factors,
        ``None`` where not wanted, those of weight and bias summed in float32 or better.
    """
    dtype, wide = plan.dtype, _sum_dtype(plan.dtype)
    weight_low = weight.to(dtype)
    bias_low = None if bias is None else bias.to(dtype)
    losses = torch.empty(target.shape, dtype=wide, device=hidden.device)
    to_hidden = torch.empty_like(hidden) if wants[0] else None
    to_weight = torch.zeros_like(weight, dtype=wide) if wants[1] else None
    to_bias = torch.zeros_like(bias, dtype=wide) if wants[2] and bias is not None else None
    for rows in _slices(len(target), plan.rows):
        part = hidden[rows].to(dtype)
        scores = F.linear(part, weight_low, bias_low).to(wide)
        chunk = _Chunk(scores, target[rows], plan.options)
        losses[rows] = chunk.losses
        if factors is None:
            continue
        low = chunk.gradient(factors[rows]).to(dtype)
        if to_hidden is not None:
            to_hidden[rows] = low @ weight_low
        if to_weight is not None:
            if dtype is wide:
                to_weight.addmm_(low.T, part)
            else:
                to_weight += low.T @ part
        if to_bias is not None:
            to_bias += low.sum(0, dtype=wide)
    return losses, (to_hidden, to_weight, to_bias)


class _Chunk:
    """Losses of some tokens, and the gradients of their scores.

    Args:
        scores: shape (C, V). Overwritten by :meth:`gradient`.
        target: shape (C).
        options: what the loss is.
    """

    def __init__(self, scores: Tensor, target: Tensor, options: LossOptions) -> None:
        self._scores, self._options = scores, options
        self._counts = target != options.ignore_index
        self._index = target.where(self._counts, 0).unsqueeze(1)
        self._log_sum = scores.logsumexp(1)
        losses = self._log_sum - scores.gather(1, self._index).squeeze(1)
        smoothing = options.label_smoothing
        if smoothing:
            losses = losses.lerp(self._log_sum - scores.mean(1), smoothing)
        if options.z_loss:
            losses = losses + options.z_loss * self._log_sum.square()
        self.losses = losses.where(self._counts, 0.0)

    def gradient(self, factors: Tensor) -> Tensor:
        """Return the gradients of the losses times factors, shape (C, V), in the scores' place."""
        smoothing, z_loss = self._options.label_smoothing, self._options.z_loss
        factors = factors.to(self._scores.dtype).where(self._counts, 0.0)
        of_softmax = factors * (1 + 2 * z_loss * self._log_sum) if z_loss else factors
        scores = self._scores.sub_(self._log_sum.unsqueeze(1)).exp_()
        scores.mul_(of_softmax.unsqueeze(1))
        if smoothing:
            scores.sub_((factors * (smoothing / scores.shape[1])).unsqueeze(1))
        return scores.scatter_add_(1, self._index, (factors * (smoothing - 1)).unsqueeze(1))


def _slices(length: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, length, size))


def _default_chunk(hidden: Tensor, weight: Tensor) -> int:
    scores = _SCORES_ON_CPU if hidden.device.type == "cpu" else _SCORES_ELSEWHERE
    return max(_FEWEST_ROWS, scores // weight.shape[0])


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """Return the number format of products: autocast's, where one is on."""
    kind = hidden.device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    # As in torch, autocast leaves float64 alone.
    return (
        torch.get_autocast_dtype(kind)
        if is_on and hidden.dtype is not torch.float64
        else hidden.dtype
    )


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype is torch.float64 else torch.float32


def _check_numbers(
    label_smoothing: float, z_loss: float, reduction: str, chunk_size: int | None
) -> None:
    if reduction not in _REDUCTIONS:
        raise unknown_name("reduction", reduction, _REDUCTIONS)
    if not 0 <= label_smoothing <= 1:
        raise ConfigError(f"label_smoothing={label_smoothing} must be in [0, 1]")
    if not z_loss >= 0:
        raise ConfigError(f"z_loss={z_loss} must be at least 0")
    if chunk_size is not None and chunk_size < 1:
        raise ConfigError(f"chunk_size={chunk_size} must be at least 1 token")


def _check_shapes(hidden: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None) -> None:
    given = (hidden, weight, bias, target)
    fits = (
        weight.ndim == 2
        and hidden.shape[-1] == weight.shape[1]
        and hidden.shape[:-1] == target.shape
        and (bias is None or bias.shape == weight.shape[:1])
    )
    if not fits:
        shapes = [None if each is None else tuple(each.shape) for each in given]
        raise TargetShapeError(
            f"hidden, weight, bias and target of shapes {', '.join(map(str, shapes))} do not fit "
            "together: they must be (..., H), (V, H), (V) and (...)"
        )
