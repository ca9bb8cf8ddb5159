"""Picking a device by name."""

import pytest
import torch

from composer.devices.device_cpu import DeviceCPU
from composer.devices.device_gpu import DeviceGPU
from composer.devices.device_mps import DeviceMPS
from composer.devices.select import get_device
from composer.errors import ArgumentTypeError, ConfigError, UnknownNameError


def test_a_device_is_returned_as_it_is():
    device = DeviceCPU()
    assert get_device(device) is device


@pytest.mark.parametrize("name", ["cpu", "CPU", " Cpu "])
def test_names_are_read_in_any_case(name: str):
    assert isinstance(get_device(name), DeviceCPU)


def test_none_means_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert isinstance(get_device(None), DeviceCPU)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"unknown device 'tpuu'.*'cpu', 'gpu', 'mps'"):
        get_device("tpuu")


def test_other_types_are_refused():
    with pytest.raises(ArgumentTypeError, match="device=3 is a int"):
        get_device(3)  # pyright: ignore[reportArgumentType]


def test_a_gpu_that_is_not_there_is_refused_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device='gpu' needs a GPU.*device='cpu'"):
        DeviceGPU()


def test_a_gpu_number_beyond_the_last_is_refused_with_what_exists(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"no GPU 2, which device_id asks for.*sees 2"):
        DeviceGPU(2)
    monkeypatch.setenv("LOCAL_RANK", "5")
    with pytest.raises(ConfigError, match="no GPU 5, which the local rank"):
        get_device("gpu")
    with pytest.raises(ArgumentTypeError, match="device_id='0'"):
        DeviceGPU("0")  # pyright: ignore[reportArgumentType]


def test_a_gpu_takes_the_local_rank_and_sets_tf32(monkeypatch: pytest.MonkeyPatch):
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        device = DeviceGPU()
        assert device.torch_device == torch.device("cuda", 1)
        assert chosen == [device.torch_device]
        assert matmul.allow_tf32
        assert cudnn.allow_tf32
        DeviceGPU(0, allow_tf32=False)
        assert not matmul.allow_tf32
        assert not cudnn.allow_tf32
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has MPS")
def test_mps_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="device='mps' needs"):
        DeviceMPS()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_reaches_the_gpu():
    device = DeviceGPU(0)
    batch = {"x": torch.ones(4).pin_memory(), "y": [torch.ones(1)]}
    moved = device.batch_to_device(batch)
    assert moved["x"].device == device.torch_device
    assert device.batch_to_device(moved) is moved
    assert moved["y"][0].sum().item() == 1.0
