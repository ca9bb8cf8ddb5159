"""Low-rank approximations of linear maps and convolutions, fitted to what the layers really see.

Given inputs X and outputs Y of a layer, find thin matrices and a bias with ``X Wa Wb + b ~ Y``. The
start is the truncated singular value decomposition of the layer's own weights; then least squares
solve for ``(Wb, b)`` and for ``Wa`` in turns. Nothing here is called while training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from composer.algorithms._checks import check_number, check_whole
from composer.errors import ConfigError

__all__ = ["LowRankSolution", "factorize_conv2d", "factorize_matrix", "latent_size"]


@dataclass
class LowRankSolution:
    """A layer as one or two thinner ones.

    Attributes:
        Wa: weights of the first layer: (inputs, rank), or a convolution's.
        Wb: weights of the second: (rank, outputs), or those of a 1x1 convolution. None where the
            rank is full, so that one layer does.
        bias: of the last of them, shape (outputs), or None.
        rank: the latent size.
        nmse: mean squared error of the outputs over their variance; 0 is perfect.
    """

    Wa: Tensor | None = None
    Wb: Tensor | None = None
    bias: Tensor | None = None
    rank: int = -1
    nmse: float = 0


def latent_size(size: float, in_size: int, out_size: int) -> int:
    """Return a latent size: itself if at least 1, else that share of the smaller side.

    Raises:
        ValueError: it is not positive, or neither a share nor a whole number.
    """
    check_number("latent size", size, above=0)
    if size < 1:
        return max(1, int(size * min(in_size, out_size)))
    if size != int(size):
        raise ConfigError(f"a latent size of {size!r} is neither a share below 1 nor whole")
    return int(size)


@torch.no_grad()
def factorize_matrix(
    X: Tensor,
    Y: Tensor,
    Wa: Tensor,
    Wb: Tensor | None = None,
    bias: Tensor | None = None,
    rank: float = 0.25,
    n_iters: int = 3,
) -> LowRankSolution:
    """Approximate a linear map by two thin ones, on given data.

    Args:
        X: inputs, shape (N, D).
        Y: the outputs to come close to, shape (N, M).
        Wa: the map's weights, shape (D, M); or of its first factor, shape (D, R).
        Wb: of its second factor, shape (R, M), if it has two.
        bias: its bias, shape (M); None fits none.
        rank: the latent size: whole, or as a share of min(D, M).
        n_iters: how often least squares solve for each factor; 0 leaves the decomposition.

    Returns:
        The best factors found, in the number format of ``Wa``. A rank of min(D, M) or more gives
        one matrix.

    Raises:
        ValueError: the rank is not positive, or higher than that of the two factors given.

    Example:
        >>> X, W = torch.eye(2), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        >>> found = factorize_matrix(X, X @ W, W, rank=1)
        >>> (found.Wa @ found.Wb).round(decimals=3).abs()
        tensor([[3., 0.],
                [0., 0.]])
    """
    check_whole("n_iters", n_iters, 0)
    full = Wa if Wb is None else Wa @ Wb
    size = latent_size(rank, *full.shape)
    if Wb is not None and size > Wa.shape[1]:
        raise ConfigError(
            f"rank={rank!r} is higher than the present rank {Wa.shape[1]}, and what was left out "
            "then cannot be brought back"
        )
    inputs, outputs = X.double(), Y.double()
    first, second, offset = full.double(), None, None if bias is None else bias.double()
    if size < min(full.shape):
        first, second = _truncate(first, size)
        first, second, offset = _alternate(inputs, outputs, first, second, offset, n_iters)
    predicted = inputs @ first if second is None else inputs @ first @ second
    predicted = predicted if offset is None else predicted + offset
    return LowRankSolution(
        Wa=first.to(Wa.dtype),
        Wb=None if second is None else second.to(Wa.dtype),
        bias=None if offset is None else offset.to(Wa.dtype),
        rank=min(size, *full.shape),
        nmse=_nmse(predicted, outputs),
    )


def _truncate(weights: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the best factors in themselves, the singular values shared evenly between them."""
    left, values, right = torch.linalg.svd(weights, full_matrices=False)
    roots = values[:size].sqrt()
    return left[:, :size] * roots, roots[:, None] * right[:size]


def _alternate(
    inputs: Tensor,
    outputs: Tensor,
    first: Tensor,
    second: Tensor,
    offset: Tensor | None,
    n_iters: int,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Solve for one factor at a time; each step is the best there is, given the other factor."""
    # Pseudo-inverses, because features of a network are often linearly dependent.
    inverse = torch.linalg.pinv(inputs) if n_iters else inputs
    for _ in range(n_iters):
        hidden = inputs @ first
        if offset is None:
            second = torch.linalg.pinv(hidden) @ outputs
        else:
            ones = torch.ones_like(hidden[:, :1])
            solved = torch.linalg.pinv(torch.cat([hidden, ones], 1)) @ outputs
            second, offset = solved[:-1], solved[-1]
        wanted = outputs if offset is None else outputs - offset
        first = inverse @ wanted @ torch.linalg.pinv(second)
    return first, second, offset


def _nmse(predicted: Tensor, outputs: Tensor) -> float:
    error = (predicted - outputs).square().mean()
    variance = (outputs - outputs.mean(0)).square().mean()
    return float(error / variance.clamp_min(torch.finfo(variance.dtype).tiny))


@torch.no_grad()
def factorize_conv2d(
    X: Tensor,
    Wa: Tensor,
    Wb: Tensor | None = None,
    rank: float = 0.25,
    biasA: Tensor | None = None,
    biasB: Tensor | None = None,
    n_iters: int = 3,
    **conv2d_kwargs: Any,
) -> LowRankSolution:
    """Approximate a convolution by one with fewer channels and a 1x1 convolution, on given images.

    Args:
        X: images, shape (N, C, H, W).
        Wa: the convolution's weights, shape (M, C, h, w); or of the first of two, (R, C, h, w).
        Wb: of the 1x1 convolution behind it, shape (M, R, 1, 1), if there are two.
        rank: the latent channels: whole, or as a share of min(C, M).
        biasA: bias of the first, or None.
        biasB: bias of the second, or None.
        n_iters: see :func:`factorize_matrix`.
        conv2d_kwargs: ``stride``, ``padding`` and ``dilation``, as numbers or pairs.

    Returns:
        Weights of both convolutions. Where the rank is full, ``Wb`` is None.

    Raises:
        ValueError: see :func:`factorize_matrix`; or the convolution has groups.
    """
    if conv2d_kwargs.pop("groups", 1) != 1:
        raise ConfigError("a convolution with groups cannot be factorized; it is thin already")
    kernel = Wa.shape[2:]
    outputs = F.conv2d(X, Wa, biasA, **conv2d_kwargs)
    bias = biasA
    if Wb is not None:
        outputs = F.conv2d(outputs, Wb, biasB)
        bias = biasB if biasA is None else F.conv2d(biasA[None, :, None, None], Wb, biasB).flatten()
    # Each patch under the kernel is one input of a linear map.
    patches = F.unfold(X, kernel, **conv2d_kwargs).transpose(1, 2).flatten(0, 1)
    found = factorize_matrix(
        patches,
        outputs.flatten(2).transpose(1, 2).flatten(0, 1),
        Wa.flatten(1).T,
        None if Wb is None else Wb.flatten(1).T,
        bias,
        latent_size(rank, Wa.shape[1], (Wa if Wb is None else Wb).shape[0]),
        n_iters,
    )
    if found.Wa is not None:
        found.Wa = found.Wa.T.reshape(-1, *Wa.shape[1:])
    if found.Wb is not None:
        found.Wb = found.Wb.T[:, :, None, None]
    return found
