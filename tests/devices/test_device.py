"""Moving things to a device. The ``meta`` device stands in for an accelerator that is far away."""

from collections import OrderedDict, UserDict, namedtuple
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from composer.devices.device import Device
from composer.devices.device_cpu import DeviceCPU

Pair = namedtuple("Pair", ["first", "second"])


class DeviceMeta(Device):
    """A device that is not the CPU and that every torch has."""

    name = "meta"

    def __init__(self) -> None:
        self.torch_device = torch.device("meta")
        self.moved = 0

    def tensor_to_device(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return tensor
        self.moved += 1
        return tensor.to(self.torch_device)


def _batch() -> dict[str, Any]:
    return {
        "x": torch.ones(2),
        "deep": [torch.ones(1), (torch.ones(1), "text")],
        "pair": Pair(torch.ones(1), 3),
        "other": {1, 2},
        "none": None,
    }


def test_a_cpu_batch_passes_through_the_cpu_untouched():
    batch = _batch()
    assert DeviceCPU().batch_to_device(batch) is batch


def test_every_tensor_of_a_nested_batch_moves_once():
    device = DeviceMeta()
    batch = _batch()
    moved = device.batch_to_device(batch)
    assert device.moved == 4
    assert moved["x"].is_meta
    assert moved["deep"][0].is_meta
    assert moved["deep"][1][0].is_meta
    assert isinstance(moved["deep"], list)
    assert isinstance(moved["deep"][1], tuple)
    assert isinstance(moved["pair"], Pair)
    assert moved["pair"].first.is_meta
    assert moved["pair"].second == 3
    assert moved["deep"][1][1] == "text"
    assert moved["other"] is batch["other"]
    assert moved["none"] is None


def test_the_batch_that_was_given_is_not_changed():
    batch = _batch()
    DeviceMeta().batch_to_device(batch)
    assert batch["x"].is_cpu
    assert batch["deep"][0].is_cpu


def test_parts_without_tensors_are_not_rebuilt():
    batch = {"x": torch.ones(1), "words": ["a", "b"], "numbers": range(3)}
    moved = DeviceMeta().batch_to_device(batch)
    assert moved["words"] is batch["words"]
    assert moved["numbers"] is batch["numbers"]


@pytest.mark.parametrize("kind", [OrderedDict, UserDict])
def test_a_mapping_keeps_its_type(kind: Any):
    batch = kind(a=torch.ones(1), b=2)
    moved = DeviceMeta().batch_to_device(batch)
    assert type(moved) is kind
    assert moved["a"].is_meta
    assert moved["b"] == 2
    assert batch["a"].is_cpu


def test_a_read_only_mapping_becomes_a_dict():
    moved = DeviceMeta().batch_to_device(MappingProxyType({"a": torch.ones(1), "b": 1}))
    assert moved["a"].is_meta
    assert moved["b"] == 1


def test_objects_of_unknown_kind_are_left_alone():
    thing = object()
    assert DeviceMeta().batch_to_device(thing) is thing


def test_a_packed_sequence_keeps_its_lengths_on_the_cpu():
    packed = pack_sequence([torch.ones(3), torch.ones(2)])
    moved = DeviceMeta().batch_to_device([packed])[0]
    assert moved.data.is_meta
    assert moved.batch_sizes.is_cpu
    assert DeviceCPU().batch_to_device(packed) is packed


def test_a_module_moves_in_place():
    module = torch.nn.Linear(2, 2)
    assert DeviceMeta().module_to_device(module) is module
    assert module.weight.is_meta


def _stepped(**options: Any) -> torch.optim.Adam:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter], **options)
    parameter.sum().backward()
    optimizer.step()
    return optimizer


def test_optimizer_state_moves_and_step_counters_stay():
    optimizer = _stepped()
    assert DeviceMeta().optimizer_to_device(optimizer) is optimizer
    (state,) = optimizer.state.values()
    assert state["exp_avg"].is_meta
    assert state["exp_avg_sq"].is_meta
    assert state["step"].is_cpu


def test_step_counters_of_a_fused_optimizer_move_too():
    optimizer = _stepped(fused=True)
    DeviceMeta().optimizer_to_device(optimizer)
    (state,) = optimizer.state.values()
    assert state["step"].is_meta


def test_a_device_shows_where_it_is():
    assert repr(DeviceCPU()) == "DeviceCPU('cpu')"
    assert (DeviceCPU().name, DeviceCPU().dist_backend) == ("cpu", "gloo")
