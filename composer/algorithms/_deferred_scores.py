"""Scores of a linear layer that are computed only when it is clear what they are for.

A :class:`DeferredLinear` returns :class:`DeferredScores`. Cross entropy takes their loss in chunks;
what only moves or reshapes them leaves them deferred; anything else gets the scores as the layer
computes them. So model and loss need not know of it, and whatever they do, the numbers are right.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from composer.algorithms._eager import run_eagerly
from composer.algorithms._low_precision import autocast_format
from composer.core.data_spec import IGNORED_LABEL
from composer.errors import StateError
from composer.loss.fused_linear import linear_cross_entropy

__all__ = ["DeferredLinear", "DeferredScores"]

log = logging.getLogger(__name__)


class DeferredLinear(nn.Linear):
    """A linear layer that defers its scores in training; arguments as in torch's.

    Attributes:
        z_loss: see :func:`~composer.loss.linear_cross_entropy`.
        kernel: likewise.
    """

    z_loss: float = 0.0
    kernel: str = "auto"
    _has_told: bool = False

    @classmethod
    def like(cls, linear: nn.Linear, z_loss: float = 0.0, kernel: str = "auto") -> DeferredLinear:
        """Make one with the parameters of another linear layer.

        Args:
            linear: the other one.
            z_loss: see the class.
            kernel: see the class.
        """
        new = cls(linear.in_features, linear.out_features, bias=False, device="meta")
        new.weight, new.bias = linear.weight, linear.bias
        new.z_loss, new.kernel = z_loss, kernel
        return new

    def forward(self, input: Tensor) -> Tensor:
        """Return the scores; deferred where gradients are computed in training.

        Args:
            input: shape (..., in_features).
        """
        if self.training and torch.is_grad_enabled():
            return self._defer(input)
        return F.linear(input, self.weight, self.bias)

    @run_eagerly
    def _defer(self, input: Tensor) -> Tensor:
        dtype = autocast_format(input) or input.dtype
        scores = _Deferral.apply(input.to(dtype), self.weight, self.bias)
        return scores._of(self, input.to(dtype))

    def tell(self, why: str) -> None:
        """Log, once, that the scores were computed as a whole.

        Args:
            why: what they were needed for.
        """
        if self._has_told:
            return
        self._has_told = True
        log.warning(
            "the scores of the output layer were computed as a whole, for %s: no memory is saved%s."
            " Chunks need torch's cross_entropy on them, with class indices and without weights",
            why,
            " and no z-loss added" if self.z_loss else "",
        )


class _Deferral(torch.autograd.Function):
    """Makes the scores' place in the graph, for whoever follows it; a loss goes around it."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        shape = (*hidden.shape[:-1], weight.shape[0])
        return DeferredScores(shape, hidden.dtype, hidden.device)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        hidden, weight = ctx.saved_tensors
        grad = grads[0].flatten(0, -2)
        to_bias = grad.sum(0) if ctx.needs_input_grad[2] else None
        return grads[0] @ weight.to(grad.dtype), grad.mT @ hidden.flatten(0, -2), to_bias


class DeferredScores(Tensor):
    """A tensor of scores without storage, which knows how they would be computed.

    Args:
        shape: shape of the scores.
        dtype: their number format.
        device: where they would be.
    """

    _layer: DeferredLinear
    _hidden: Tensor
    _class_dim: int
    _whole: Tensor | None

    @staticmethod
    def __new__(cls: Any, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Any:
        """Make the tensor."""
        return Tensor._make_wrapper_subclass(cls, tuple(shape), dtype=dtype, device=device)

    def _of(self, layer: DeferredLinear, hidden: Tensor, class_dim: int | None = None) -> Any:
        """Say of what they are the scores: of an input of shape (..., H) with classes put in."""
        self._layer, self._hidden, self._whole = layer, hidden, None
        self._class_dim = hidden.ndim - 1 if class_dim is None else class_dim
        return self

    def _again(self, hidden: Tensor, class_dim: int | None = None, dtype: Any = None) -> Any:
        """Return the scores of another form of the input."""
        shape = [*hidden.shape[:-1]]
        position = len(shape) if class_dim is None else class_dim
        shape.insert(position, self._layer.out_features)
        with torch._C.DisableTorchFunctionSubclass():
            new = DeferredScores(shape, dtype or self.dtype, hidden.device)
        return new._of(self._layer, hidden, position)

    def _compute(self) -> Tensor:
        """Return the scores as the layer computes them."""
        if self._whole is None:
            layer, hidden = self._layer, self._hidden
            bias = None if layer.bias is None else layer.bias.to(hidden.dtype)
            with torch._C.DisableTorchFunctionSubclass():
                dtype = self.dtype
            with torch.autocast(hidden.device.type, enabled=False):
                scores = F.linear(hidden, layer.weight.to(hidden.dtype), bias).to(dtype)
            self._whole = scores.movedim(-1, self._class_dim)
        return self._whole

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Answer what can be answered without scores; compute them for all else."""
        return _answer(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Refuse what does not come through Python: it would lose the gradients."""
        raise StateError(
            f"{func} was called on scores that are not computed yet, past torch's functions; "
            "leave FusedLinearCrossEntropy out"
        )


@run_eagerly
def _answer(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if func in _FACTS:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)
    first = args[0] if args else kwargs.get("input")
    if isinstance(first, DeferredScores) and _is_in_place(func):
        raise StateError(
            f"{func.__name__} changes the output layer's scores in place, and forms of them may be "
            "deferred already: make a new tensor of them, or leave FusedLinearCrossEntropy out"
        )
    rule = _RULES.get(func)
    if rule is not None and isinstance(first, DeferredScores):
        answer = rule(*args, **kwargs)
        if answer is not None:
            return answer
    return func(*_computed(args, func), **_computed(kwargs, func))


def _is_in_place(func: Callable[..., Any]) -> bool:
    name = getattr(func, "__name__", "")
    is_operator = name == "__setitem__" or name in _IN_PLACE
    return is_operator or (name.endswith("_") and not name.endswith("__"))


def _computed(values: Any, func: Callable[..., Any]) -> Any:
    def compute(value: Any) -> Any:
        if not isinstance(value, DeferredScores):
            return value
        value._layer.tell(getattr(func, "__name__", str(func)))
        return value._compute()

    return pytree.tree_map(compute, values)


# What is answered without scores. A rule returns None where it cannot.


def _cross_entropy(
    input: DeferredScores,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = IGNORED_LABEL,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor | None:
    is_usual = weight is None and size_average is None and reduce is None
    has_indices = not target.is_floating_point() and target.shape == input._hidden.shape[:-1]
    # torch takes the second dimension for that of the classes; the only one, if there is one.
    if not (is_usual and has_indices and input._class_dim == min(1, target.ndim)):
        return None
    layer = input._layer
    return linear_cross_entropy(
        input._hidden,
        layer.weight,
        target,
        layer.bias,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        z_loss=layer.z_loss,
        reduction=reduction,
        kernel=layer.kernel,
    )


def _reshaped(func: Callable[..., Tensor]) -> Callable[..., Any]:
    def rule(input: DeferredScores, *args: Any, **kwargs: Any) -> Any:
        hidden, num_classes = input._hidden, input._layer.out_features
        if input._class_dim != hidden.ndim - 1:
            return None
        # On the meta device, which knows all the ways to say a shape.
        given = torch.empty(input.shape, dtype=input.dtype, device="meta")
        found = func(given, *args, **kwargs)
        if found.dtype is not given.dtype or found.shape[-1:] != (num_classes,):
            return None
        return input._again(hidden.reshape(*found.shape[:-1], hidden.shape[-1]))

    return rule


def _permuted(input: DeferredScores, *order: Any) -> Any:
    order = tuple(order[0]) if len(order) == 1 and not isinstance(order[0], int) else order
    wanted = [each % input.ndim for each in order]
    others = [each for each in wanted if each != input._class_dim]
    if others != sorted(others):
        return None
    return input._again(input._hidden, wanted.index(input._class_dim))


def _transposed(input: DeferredScores, dim0: int, dim1: int) -> Any:
    order = list(range(input.ndim))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return _permuted(input, *order)


def _indexed(input: DeferredScores, index: Any) -> Any:
    entries = index if isinstance(index, tuple) else (index,)
    is_last = input._class_dim == input.ndim - 1
    if not is_last or any(each is None or isinstance(each, list) for each in entries):
        return None
    used = sum(
        each.ndim if isinstance(each, Tensor) and each.dtype is torch.bool else 1
        for each in entries
        if each is not Ellipsis
    )
    keeps_classes = used < input.ndim and Ellipsis not in [*map(_plain, entries)]
    ends_whole = isinstance(entries[-1], slice) and entries[-1] == slice(None)
    return input._again(input._hidden[index]) if keeps_classes or ends_whole else None


def _plain(entry: Any) -> Any:
    # A tensor compared with anything is a tensor again.
    return None if isinstance(entry, Tensor) else entry


def _as_float(input: DeferredScores) -> Any:
    return input._again(input._hidden, input._class_dim, torch.float32)


def _converted(input: DeferredScores, *args: Any, **kwargs: Any) -> Any:
    dtype = kwargs.get("dtype", args[0] if args else None)
    is_only_dtype = len(args) + len(kwargs) == 1 and isinstance(dtype, torch.dtype)
    is_wide = is_only_dtype and dtype is torch.float32
    return _as_float(input) if is_wide else None


def _same(input: DeferredScores, **kwargs: Any) -> Any:
    return input


_IN_PLACE = {f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "div", "pow", "floordiv")}

_FACTS = {
    *(
        getattr(Tensor, name).__get__
        for name in ("shape", "dtype", "device", "ndim", "layout", "requires_grad", "is_cuda")
    ),
    *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point, Tensor.__len__),
}

_RULES: dict[Any, Callable[..., Any]] = {
    F.cross_entropy: _cross_entropy,
    Tensor.contiguous: _same,
    Tensor.float: _as_float,
    Tensor.to: _converted,
    Tensor.__getitem__: _indexed,
    **dict.fromkeys((Tensor.permute, torch.permute), _permuted),
    **dict.fromkeys((Tensor.transpose, torch.transpose), _transposed),
    **{
        func: _reshaped(func)
        for func in (Tensor.view, Tensor.reshape, torch.reshape, Tensor.flatten, torch.flatten)
    },
}
