"""The layers of BlurPool: a fixed blur before or after what throws pixels away.

No layer changes anything of itself in a forward pass, and all sizes are plain numbers, so compiled
models keep one graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from composer.errors import ConfigError

__all__ = ["BlurConv2d", "BlurMaxPool2d", "BlurPool2d", "blur_2d", "blurmax_pool2d"]

Pair = int | tuple[int, int]


def blur_2d(
    input: Tensor, channels: int = -1, stride: Pair = 1, filter: Tensor | None = None
) -> Tensor:
    """Blur each channel, with zeros around the image.

    Args:
        input: images, shape (N, C, H, W).
        channels: C, for callers that must not look at shapes; -1 looks.
        stride: keep every so many pixels only.
        filter: what to cross-correlate with, of odd sides: shape (h, w), (1, 1, h, w) or
            (C, 1, h, w); by default ``[1 2 1]`` times itself over 16.

    Returns:
        Images of the same number format and memory order, with sides ``ceil(side / stride)``.

    Raises:
        ValueError: the filter has a side of even length.

    Example:
        >>> blur_2d(torch.full((1, 1, 3, 3), 16.0))[0, 0, 0]
        tensor([ 9., 12.,  9.])

    Source:
        Zhang 2019, section 3.2, filter "Triangle-3".
    """
    if filter is None:
        filter = _triangle_filter().to(input)
    height, width = filter.shape[-2:]
    if height % 2 == 0 or width % 2 == 0:
        raise ConfigError(
            f"filter must have odd sides to be centred on a pixel, got {height} x {width}"
        )
    return _correlate(input, filter, stride, (height // 2, width // 2), channels)


def _triangle_filter() -> Tensor:
    # No view of a smaller tensor: surgery casts buffers in place, and export follows views back.
    return torch.tensor([[[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]]).div_(16)


def _correlate(
    input: Tensor, filter: Tensor, stride: Pair, padding: Pair, channels: int = -1
) -> Tensor:
    channels = input.shape[1] if channels < 1 else channels
    pixels = input.float() if _is_faster_in_float32(input, stride) else input
    kernel = filter.to(pixels.dtype).expand(channels, 1, *filter.shape[-2:])
    # The pooling that is replaced keeps its input's number format; autocast would change it here.
    with torch.autocast(input.device.type, enabled=False):
        blurred = F.conv2d(pixels, kernel, stride=stride, padding=padding, groups=channels)
    return blurred.to(input.dtype)


def _is_faster_in_float32(input: Tensor, stride: Pair) -> bool:
    """Whether the processor has no fast kernel for one filter a channel in this number format.

    On a CPU the backward pass of a strided blur in bfloat16 takes ten times as long as that in
    float32 with both conversions, and all of float16 does. Without a stride bfloat16 is fast.
    """
    if input.device.type != "cpu":
        return False
    is_strided = max(_pair(stride)) > 1
    return input.dtype is torch.float16 or (input.dtype is torch.bfloat16 and is_strided)


def blurmax_pool2d(
    input: Tensor,
    kernel_size: Pair | None = None,
    stride: Pair = 2,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    filter: Tensor | None = None,
) -> Tensor:
    """Max-pool without leaving pixels out, then blur and keep every ``stride``-th.

    Args:
        input: images, shape (N, C, H, W).
        kernel_size: sides of the windows, in pixels; by default 2.
        stride: keep every so many pixels, after the blur.
        padding: as in :func:`torch.nn.functional.max_pool2d`.
        dilation: likewise.
        ceil_mode: round the output's sides up, likewise.
        filter: see :func:`blur_2d`.

    Returns:
        Images of the size that ``max_pool2d`` with the same arguments gives.

    Source:
        Zhang 2019, equation (5).
    """
    kernel_size = 2 if kernel_size is None else kernel_size
    if ceil_mode:
        input = _pad_for_ceil_mode(input, kernel_size, stride, padding, dilation)
    maxima = F.max_pool2d(input, kernel_size, stride=1, padding=padding, dilation=dilation)
    return blur_2d(maxima, stride=stride, filter=filter)


def _pad_for_ceil_mode(
    input: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor:
    """Add pixels below and to the right, for the window that ``ceil_mode`` adds."""
    sides = zip(
        input.shape[-2:], *map(_pair, (kernel_size, stride, padding, dilation)), strict=True
    )
    bottom, right = (_ceil_mode_pixels(*side) for side in sides)
    if bottom or right:
        return F.pad(input, (0, right, 0, bottom), value=-math.inf)
    return input


def _ceil_mode_pixels(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    positions = size + 2 * padding - dilation * (kernel - 1)
    outputs = -(-(positions - 1) // stride) + 1
    # As in torch: the last window must begin inside the image.
    if (outputs - 1) * stride >= size + padding:
        outputs -= 1
    return max(0, (outputs - 1) * stride + 1 - positions)


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, Sequence) else (value, value)
    return int(first), int(second)


class _Blur(nn.Module):
    """A module with a blur filter that travels with it and is no part of its state dict."""

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", _triangle_filter(), persistent=False)

    def reset_parameters(self) -> None:
        """Fill the filter in again, after the module was moved off the meta device."""
        self.filter.copy_(_triangle_filter())

    def _load_from_state_dict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, state_dict: Any, prefix: str, *args: Any
    ) -> None:
        # Composer's older checkpoints hold the constant filters too.
        for name in ("blur_filter", "filt2d"):
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *args)


class BlurMaxPool2d(_Blur):
    """A ``MaxPool2d`` that blurs before it leaves pixels out; see :func:`blurmax_pool2d`.

    Args:
        kernel_size: sides of the windows, in pixels.
        stride: keep every so many pixels; by default ``kernel_size``.
        padding: as in ``MaxPool2d``.
        dilation: likewise.
        ceil_mode: likewise.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return the pooled images."""
        return blurmax_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.filter,
        )

    @staticmethod
    def from_maxpool2d(module: nn.MaxPool2d, module_index: int = -1) -> BlurMaxPool2d:
        """Return the blurred counterpart of a ``MaxPool2d``."""
        del module_index
        return BlurMaxPool2d(
            module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode
        )


class BlurConv2d(_Blur):
    """A strided ``Conv2d`` with a blur before it, or between it and its stride.

    Args:
        in_channels: as in ``Conv2d``.
        out_channels: likewise.
        kernel_size: likewise.
        stride: keep every so many pixels; by default ``kernel_size``.
        padding: as in ``Conv2d``.
        dilation: likewise.
        groups: likewise.
        bias: likewise.
        blur_first: blur the input and leave the stride to the convolution, which costs little;
            otherwise convolve at every pixel, then blur and stride, which is Zhang's form.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        blur_first: bool = True,
    ) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        self._take(conv, blur_first)

    def _take(self, conv: nn.Conv2d, blur_first: bool) -> None:
        self.blur_first = blur_first
        self.blur_stride: Pair = 1
        if not blur_first:
            self.blur_stride = _pair(conv.stride)
            conv.stride = (1, 1)
        # Kept here, because another method may put something else in the convolution's place.
        self._channels = conv.in_channels if blur_first else conv.out_channels
        self.conv = conv

    def extra_repr(self) -> str:
        """Return what the convolution inside does not show."""
        return f"blur_first={self.blur_first}, blur_stride={self.blur_stride}"

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolved images, of the size that the ``Conv2d`` alone gives."""
        if self.blur_first:
            return self.conv(blur_2d(input, self._channels, filter=self.filter))
        return blur_2d(self.conv(input), self._channels, self.blur_stride, filter=self.filter)

    @staticmethod
    def from_conv2d(
        module: nn.Conv2d, module_index: int = -1, blur_first: bool = True
    ) -> BlurConv2d:
        """Return a ``Conv2d`` with a blur around it.

        The convolution goes on to live inside, with its weights; with ``blur_first=False`` it hands
        over its stride.
        """
        del module_index
        blurred = BlurConv2d.__new__(BlurConv2d)
        _Blur.__init__(blurred)
        blurred._take(module, blur_first)
        return blurred


class BlurPool2d(_Blur):
    """Blur images and keep every so many pixels.

    Args:
        channels: channels of the images; 0 looks at them.
        stride: keep every so many pixels.
        padding: zeros on each side, in pixels.
    """

    def __init__(self, channels: int = 0, stride: Pair = 2, padding: Pair = 1) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride
        self.padding = padding

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"channels={self.channels}, stride={self.stride}, padding={self.padding}"

    def forward(self, input: Tensor) -> Tensor:
        """Return the blurred images."""
        return _correlate(input, self.filter, self.stride, self.padding, self.channels)
