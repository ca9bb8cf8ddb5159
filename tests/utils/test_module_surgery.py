"""Layers replaced inside a model."""

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from composer.errors import ArgumentTypeError, StateError
from composer.utils.module_surgery import count_module_instances, replace_module_classes


class Wide(nn.Linear):
    """What linear layers become."""


class Wrapper(nn.Module):
    """A replacement that holds what it replaces."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.scale = nn.Parameter(torch.ones(1))


def widen(module, index):
    return Wide(module.in_features, module.out_features)


def names_of(model, kind):
    return [name for name, module in model.named_modules() if type(module) is kind]


class TestWalk:
    def test_layers_at_every_depth_are_replaced(self):
        model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 1)))
        old = [model[0], model[1][1]]
        replaced = replace_module_classes(model, {nn.Linear: widen})
        assert names_of(model, Wide) == ["0", "1.1"]
        assert list(replaced) == old
        assert list(replaced.values()) == [model[0], model[1][1]]
        assert model(torch.ones(4, 2)).shape == (4, 1)

    def test_none_keeps_the_layer(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
        policy = {nn.Linear: lambda m, i: None if m.out_features == 2 else widen(m, i)}
        replace_module_classes(model, policy)
        assert names_of(model, Wide) == ["1"]

    def test_subclasses_match(self):
        model = nn.Sequential(Wide(2, 2))
        replace_module_classes(model, {nn.Linear: lambda m, i: nn.Identity()})
        assert type(model[0]) is nn.Identity

    def test_the_model_itself_stays(self):
        model = nn.Linear(2, 2)
        assert replace_module_classes(model, {nn.Linear: widen}) == {}

    def test_the_index_counts_every_match_in_order_of_registration(self):
        model = nn.Sequential(
            nn.Linear(1, 1), nn.ReLU(), nn.Sequential(nn.Linear(2, 2)), nn.Linear(3, 3)
        )
        seen = []
        replace_module_classes(
            model, {nn.Linear: lambda m, i: seen.append((i, m.in_features)), nn.ReLU: widen_never}
        )
        assert seen == [(0, 1), (1, 2), (2, 3)]

    def test_indices_go_on_between_calls(self):
        indices = {}
        seen = []
        for _ in range(2):
            model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
            policies = {nn.Linear: lambda m, i: seen.append(i)}
            replace_module_classes(model, policies, indices=indices)
        assert seen == [0, 1, 2, 3]
        assert indices == {nn.Linear: 4}

    def test_the_first_policy_that_answers_wins(self):
        model = nn.Sequential(Wide(2, 2))
        policies = {
            Wide: lambda m, i: None,
            nn.Linear: lambda m, i: nn.Identity(),
            nn.Module: lambda m, i: nn.ReLU(),
        }
        replace_module_classes(model, policies)
        assert type(model[0]) is nn.Identity

    def test_what_is_inside_a_replaced_layer_is_not_asked_about(self):
        inner = nn.Linear(1, 1)
        model = nn.Sequential(nn.Sequential(inner))
        seen = []
        policies = {
            nn.Sequential: lambda m, i: Wrapper(m),
            nn.Linear: lambda m, i: seen.append(m),
        }
        replace_module_classes(model, policies)
        assert seen == []
        assert model[0].inner[0] is inner

    def test_a_policy_must_return_a_module(self):
        with pytest.raises(ArgumentTypeError, match="policy for Linear returned 3"):
            replace_module_classes(nn.Sequential(nn.Linear(1, 1)), {nn.Linear: lambda m, i: 3})


def widen_never(module, index):
    return None


class TestSharedLayers:
    def test_a_shared_layer_is_asked_about_once_and_replaced_everywhere(self):
        shared = nn.Linear(2, 2)
        model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared), "c": shared})
        indices = []

        def policy(module, index):
            indices.append(index)
            return widen(module, index)

        replace_module_classes(model, {nn.Linear: policy})
        assert indices == [0]
        assert type(model["a"]) is Wide
        assert model["a"] is model["b"][0] is model["c"]

    def test_a_layer_under_two_names_of_one_parent_is_replaced_under_both(self):
        model = nn.Module()
        model.first = model.second = nn.Linear(2, 2)
        replace_module_classes(model, {nn.Linear: widen})
        assert type(model.first) is Wide
        assert model.first is model.second


class TestRecursion:
    def test_replacements_are_left_alone_by_default(self):
        model = nn.Sequential(nn.Linear(2, 2))
        replace_module_classes(model, {nn.Linear: lambda m, i: nn.Sequential(nn.Linear(2, 2))})
        assert type(model[0][0]) is nn.Linear

    def test_replacements_are_entered_on_demand(self):
        model = nn.Sequential(nn.Conv1d(1, 1, 1))
        policies = {
            nn.Conv1d: lambda m, i: nn.Sequential(nn.Linear(16, 16)),
            nn.Linear: lambda m, i: None if isinstance(m, Wide) else widen(m, i),
        }
        replace_module_classes(model, policies, recurse_on_replacements=True)
        assert names_of(model, Wide) == ["0.0"]

    def test_a_replacement_may_itself_be_replaced(self):
        model = nn.Sequential(nn.Conv1d(1, 1, 1))
        policies = {
            nn.Conv1d: lambda m, i: nn.Linear(16, 32),
            nn.Linear: lambda m, i: nn.Linear(32, 64) if m.in_features == 16 else None,
        }
        replaced = replace_module_classes(model, policies, recurse_on_replacements=True)
        assert model[0].out_features == 64
        assert [type(old) for old in replaced] == [nn.Conv1d, nn.Linear]

    def test_a_shared_layer_ends_up_as_the_last_replacement_everywhere(self):
        shared = nn.Conv1d(1, 1, 1)
        model = nn.Sequential(shared, shared)
        policies = {
            nn.Conv1d: lambda m, i: nn.Linear(1, 1),
            nn.Linear: lambda m, i: None if isinstance(m, Wide) else widen(m, i),
        }
        replace_module_classes(model, policies, recurse_on_replacements=True)
        assert type(model[0]) is Wide
        assert model[0] is model[1]

    def test_a_wrapper_does_not_end_up_inside_itself(self):
        model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)))
        old = model[0]
        policies = {
            nn.Sequential: lambda m, i: Wrapper(m),
            nn.Linear: lambda m, i: None if isinstance(m, Wide) else widen(m, i),
        }
        replace_module_classes(model, policies, recurse_on_replacements=True)
        assert model[0].inner is old
        assert type(old[0]) is Wide

    def test_a_policy_without_end_is_stopped(self):
        model = nn.Sequential(nn.Linear(2, 2))
        with pytest.raises(StateError, match="policy for Wide replaced its own result"):
            replace_module_classes(model, {nn.Linear: widen}, recurse_on_replacements=True)


class TestLook:
    """Device, number format and training mode come from the replaced layer."""

    def test_the_number_format_is_kept(self):
        model = nn.Sequential(nn.Linear(2, 2).to(torch.bfloat16), nn.Linear(2, 2).double())
        replace_module_classes(model, {nn.Linear: widen})
        assert [p.dtype for p in model[0].parameters()] == [torch.bfloat16] * 2
        assert [p.dtype for p in model[1].parameters()] == [torch.float64] * 2

    def test_a_layer_without_tensors_gets_the_format_of_the_model(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).half()
        replace_module_classes(model, {nn.ReLU: lambda m, i: nn.PReLU()})
        assert model[1].weight.dtype is torch.float16

    def test_mixed_formats_are_left_to_the_replacement(self):
        model = nn.Sequential(nn.Linear(2, 2))
        model[0].bias.data = model[0].bias.data.half()
        replace_module_classes(model, {nn.Linear: widen})
        assert model[0].weight.dtype is torch.float32

    def test_whole_numbers_are_not_cast(self):
        model = nn.Sequential(nn.BatchNorm1d(2)).half()
        replace_module_classes(model, {nn.BatchNorm1d: lambda m, i: nn.BatchNorm1d(2)})
        assert model[0].running_mean.dtype is torch.float16
        assert model[0].num_batches_tracked.dtype is torch.int64

    def test_the_device_is_kept(self):
        model = nn.Sequential(nn.Linear(2, 2, device="meta"))
        replace_module_classes(model, {nn.Linear: widen})
        assert model[0].weight.device.type == "meta"

    def test_the_mode_is_kept(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        model[1].eval()
        replace_module_classes(model, {nn.Linear: lambda m, i: nn.Sequential(nn.Linear(2, 2))})
        assert model[0].training
        assert model[0][0].training
        assert not model[1].training
        assert not model[1][0].training

    def test_what_lives_on_inside_the_replacement_keeps_its_own_mode_and_format(self):
        block = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).double())
        block[1].eval()
        model = nn.Sequential(block)
        replace_module_classes(model, {nn.Sequential: lambda m, i: Wrapper(m)})
        assert not block[1].training
        assert block[1].weight.dtype is torch.float64

    def test_parameters_stay_the_same_objects(self):
        made = []

        def policy(module, index):
            new = widen(module, index)
            made.extend(new.parameters())
            return new

        model = nn.Sequential(nn.Linear(2, 2)).half()
        replace_module_classes(model, {nn.Linear: policy})
        assert all(a is b for a, b in zip(model.parameters(), made, strict=True))


class TestRefusals:
    def test_a_wrapped_model_is_refused(self):
        wrapped = DistributedDataParallel.__new__(DistributedDataParallel)
        nn.Module.__init__(wrapped)
        with pytest.raises(ArgumentTypeError, match=r"model\.module"):
            replace_module_classes(nn.Sequential(wrapped), {nn.Linear: widen})

    def test_a_sharded_model_is_refused(self):
        class Sharded(FSDPModule, nn.Sequential):
            def __new__(cls, *args):
                return object.__new__(cls)

        with pytest.raises(ArgumentTypeError, match="before sharding"):
            replace_module_classes(Sharded(nn.Linear(1, 1)), {nn.Linear: widen})


class TestCount:
    def test_all_depths_and_subclasses_count(self):
        model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(Wide(1, 1), nn.ReLU()))
        assert count_module_instances(model, nn.Linear) == 2

    def test_several_classes_may_be_given(self):
        model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Tanh())
        assert count_module_instances(model, (nn.Linear, nn.ReLU)) == 2

    def test_a_shared_layer_counts_once(self):
        shared = nn.ReLU()
        assert count_module_instances(nn.Sequential(shared, nn.Sequential(shared)), nn.ReLU) == 1

    def test_the_model_itself_does_not_count(self):
        assert count_module_instances(nn.Sequential(nn.Sequential()), nn.Sequential) == 1
