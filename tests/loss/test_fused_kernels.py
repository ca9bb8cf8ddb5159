"""Which kernel is taken. The kernels run on CUDA only; here stand-ins note how they are called."""

import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import torch

from composer.errors import ConfigError
from composer.loss import _fused_kernels as kernels
from composer.loss._fused_kernels import LossOptions, choose_kernel

PLAIN = LossOptions(ignore_index=-100, label_smoothing=0.0, z_loss=0.0, reduction="mean")
EXTRAS = LossOptions(ignore_index=-1, label_smoothing=0.1, z_loss=0.01, reduction="mean")
EACH = LossOptions(ignore_index=-100, label_smoothing=0.0, z_loss=0.0, reduction="none")
HALF = torch.bfloat16


class Calls(list[tuple[str, tuple[Any, ...], dict[str, Any]]]):
    def noting(self, name: str) -> Any:
        return lambda *args, **keywords: self.append((name, args, keywords))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """Both packages as if they were installed."""
    found = Calls()
    for path, function in (
        ("cut_cross_entropy", "linear_cross_entropy"),
        ("liger_kernel", ""),
        ("liger_kernel.transformers", ""),
        ("liger_kernel.transformers.functional", "liger_fused_linear_cross_entropy"),
    ):
        module = ModuleType(path)
        module.__spec__ = ModuleSpec(path, None)
        if function:
            setattr(module, function, found.noting(path.partition(".")[0]))
        monkeypatch.setitem(sys.modules, path, module)
    kernels._is_installed.cache_clear()
    yield found
    kernels._is_installed.cache_clear()


def called(calls: Calls, options: LossOptions, name: str = "auto", dtype: Any = HALF) -> Any:
    kernel = choose_kernel(name, "cuda", dtype, options)
    assert kernel is not None
    kernel(torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(2), None, options)
    return calls[-1]


def test_the_cut_kernel_is_preferred(calls: Calls) -> None:
    name, args, keywords = called(calls, PLAIN)
    assert name == "cut_cross_entropy"
    assert [tuple(each.shape) for each in args] == [(2, 3), (4, 3), (2,)]
    assert keywords == {"bias": None, "ignore_index": -100, "reduction": "mean"}


def test_liger_does_what_the_cut_kernel_cannot(calls: Calls) -> None:
    name, _, keywords = called(calls, EXTRAS)
    assert name == "liger_kernel"
    assert keywords["lse_square_scale"] == 0.01
    assert keywords["label_smoothing"] == 0.1
    assert keywords["ignore_index"] == -1
    assert called(calls, PLAIN, dtype=torch.float32)[0] == "liger_kernel"


@pytest.mark.usefixtures("calls")
def test_what_no_kernel_can_do_is_done_in_plain_torch() -> None:
    assert choose_kernel("auto", "cpu", HALF, PLAIN) is None
    assert choose_kernel("auto", "cuda", torch.float32, EACH) is None
    assert choose_kernel("auto", "cuda", torch.float64, PLAIN) is None
    assert choose_kernel("torch", "cuda", HALF, PLAIN) is None


def test_without_their_packages_it_is_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_is_installed", lambda name: False)
    assert choose_kernel("auto", "cuda", HALF, PLAIN) is None


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize(
    ("name", "device", "dtype", "options", "why"),
    [
        ("cut", "cpu", HALF, PLAIN, "on 'cpu'"),
        ("cut", "cuda", torch.float32, PLAIN, "float32"),
        ("cut", "cuda", HALF, EXTRAS, "neither label smoothing nor z-loss"),
        ("liger", "cuda", HALF, EACH, "each token"),
    ],
)
def test_a_kernel_that_cannot_do_it_says_why(
    name: str, device: str, dtype: torch.dtype, options: LossOptions, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        choose_kernel(name, device, dtype, options)
