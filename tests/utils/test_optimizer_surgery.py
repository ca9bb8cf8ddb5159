"""Parameters that follow replaced layers in the optimizers."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from composer.errors import StateError
from composer.utils.module_surgery import replace_module_classes
from composer.utils.optimizer_surgery import update_params_in_optimizer


def names_in(optimizer, model):
    """Names of the parameters in each group."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [[names.get(p, "unknown") for p in group["params"]] for group in optimizer.param_groups]


def parameters(count):
    return [nn.Parameter(torch.full((1,), float(number))) for number in range(count)]


def trained_sgd(groups):
    """An optimizer with momentum that has made a step."""
    optimizer = SGD(groups, lr=0.1, momentum=0.9)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))


def new_linear(module, index):
    return nn.Linear(module.in_features, module.out_features)


class Factored(nn.Module):
    """A linear layer as two, with other names inside."""

    def __init__(self, module):
        super().__init__()
        self.down = nn.Linear(module.in_features, 1, bias=False)
        self.up = nn.Linear(1, module.out_features)


class TestSurgery:
    def test_new_parameters_take_the_place_of_the_old_ones(self, model):
        optimizer = trained_sgd(model.parameters())
        before = names_in(optimizer, model)
        old = list(model[0].parameters())
        replace_module_classes(model, {nn.Linear: new_linear}, optimizer)
        assert names_in(optimizer, model) == before
        assert not any(p in optimizer.state for p in old)

    def test_state_of_other_parameters_is_kept(self, model):
        optimizer = trained_sgd(model.parameters())
        momentum = optimizer.state[model[1].weight]["momentum_buffer"]
        replace_module_classes(model, {nn.Linear: new_linear}, optimizer)
        assert optimizer.state[model[1].weight]["momentum_buffer"] is momentum
        assert set(optimizer.state) == {model[1].weight, model[1].bias}

    def test_training_goes_on(self, model):
        optimizer = AdamW(model.parameters(), lr=0.1)
        replace_module_classes(model, {nn.Linear: new_linear}, optimizer)
        before = copy.deepcopy(model.state_dict())
        model(torch.randn(4, 2)).pow(2).sum().backward()
        optimizer.step()
        assert all(not torch.equal(before[k], v) for k, v in model.state_dict().items())

    def test_weights_and_biases_go_to_their_own_groups(self, model):
        optimizer = trained_sgd(
            [
                {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
                {"params": [p for p in model.parameters() if p.dim() == 1]},
            ]
        )
        before = names_in(optimizer, model)
        replace_module_classes(model, {nn.Linear: new_linear}, optimizer)
        assert names_in(optimizer, model) == before

    def test_other_names_go_where_their_like_is(self, model):
        optimizer = trained_sgd(
            [
                {"params": [p for p in model.parameters() if p.dim() > 1]},
                {"params": [p for p in model.parameters() if p.dim() == 1]},
            ]
        )
        replace_module_classes(model, {nn.Linear: lambda m, i: Factored(m)}, optimizer)
        assert names_in(optimizer, model) == [
            ["0.down.weight", "0.up.weight", "2.down.weight", "2.up.weight"],
            ["0.up.bias", "1.weight", "1.bias", "2.up.bias"],
        ]

    def test_several_optimizers_keep_their_share(self, model):
        matrices = trained_sgd([p for p in model.parameters() if p.dim() > 1])
        vectors = AdamW([p for p in model.parameters() if p.dim() == 1])
        before = names_in(matrices, model), names_in(vectors, model)
        replace_module_classes(model, {nn.Linear: new_linear}, [matrices, vectors])
        assert (names_in(matrices, model), names_in(vectors, model)) == before

    def test_a_parameter_used_elsewhere_stays(self):
        model = nn.ModuleDict({"embed": nn.Embedding(5, 2), "head": nn.Linear(2, 5, bias=False)})
        model["head"].weight = model["embed"].weight
        optimizer = trained_sgd(model.parameters())
        tied = model["embed"].weight
        replace_module_classes(model, {nn.Linear: new_linear}, optimizer)
        assert sorted(names_in(optimizer, model)[0]) == [
            "embed.weight",
            "head.bias",
            "head.weight",
        ]
        assert tied in optimizer.state

    def test_a_replacement_of_a_replacement_leaves_only_the_last(self, model):
        optimizer = trained_sgd(model.parameters())
        policies = {
            nn.LayerNorm: lambda m, i: nn.Sequential(nn.Linear(3, 3)),
            nn.Linear: lambda m, i: None if isinstance(m, nn.Bilinear) else shrink(m),
        }
        replace_module_classes(model, policies, optimizer, recurse_on_replacements=True)
        assert names_in(optimizer, model) == [[name for name, _ in model.named_parameters()]]

    def test_parameters_reused_by_the_replacement_keep_their_state(self, model):
        optimizer = trained_sgd(model.parameters())

        def reuse(module, index):
            new = nn.Linear(module.in_features, module.out_features)
            new.weight = module.weight
            return new

        kept = model[0].weight
        replace_module_classes(model, {nn.Linear: reuse}, optimizer)
        assert kept in optimizer.state
        assert model[0].bias not in optimizer.state
        assert sorted(names_in(optimizer, model)[0]) == sorted(
            n for n, _ in model.named_parameters()
        )

    def test_a_layer_that_is_not_trained_is_not_trained_afterwards(self, model):
        optimizer = trained_sgd(model[2].parameters())
        first = model[0]
        replace_module_classes(
            model, {nn.Linear: lambda m, i: new_linear(m, i) if m is first else None}, optimizer
        )
        assert names_in(optimizer, model) == [["2.weight", "2.bias"]]

    def test_names_kept_by_the_optimizer_follow(self, model):
        optimizer = SGD(model.named_parameters(), lr=0.1)
        replace_module_classes(model, {nn.Linear: lambda m, i: Factored(m)}, optimizer)
        group = optimizer.param_groups[0]
        assert group["param_names"] == [name for name, _ in model.named_parameters()]
        assert group["params"] == list(model.parameters())


def shrink(module):
    """Replace a linear layer that has a bias by one that has none."""
    if module.bias is None:
        return None
    return nn.Linear(module.in_features, module.out_features, bias=False)


class TestUpdate:
    def test_more_parameters_may_come_than_go(self):
        old, new, other = parameters(1), parameters(3), parameters(2)
        optimizer = trained_sgd([other[0], *old, other[1]])
        update_params_in_optimizer(old, new, optimizer)
        assert all(
            a is b
            for a, b in zip(
                optimizer.param_groups[0]["params"], [other[0], *new, other[1]], strict=True
            )
        )

    def test_parameters_may_only_go(self):
        old, other = parameters(2), parameters(1)
        optimizer = trained_sgd([*old, *other])
        update_params_in_optimizer(old, [], optimizer)
        assert optimizer.param_groups[0]["params"] == other
        assert set(optimizer.state) == set(other)

    def test_the_group_of_the_old_ones_is_found(self):
        first, second, new = parameters(2), parameters(2), parameters(1)
        optimizer = trained_sgd([{"params": first}, {"params": second, "lr": 0.5}])
        update_params_in_optimizer(second, new, optimizer)
        assert [len(group["params"]) for group in optimizer.param_groups] == [2, 1]
        assert optimizer.param_groups[1]["params"][0] is new[0]
        assert optimizer.param_groups[1]["lr"] == 0.5

    def test_parameters_in_both_lists_stay_with_their_state(self):
        kept, old, new = parameters(1), parameters(1), parameters(1)
        optimizer = trained_sgd([*kept, *old])
        update_params_in_optimizer([*kept, *old], [*kept, *new], optimizer)
        assert kept[0] in optimizer.state
        assert {id(p) for p in optimizer.param_groups[0]["params"]} == {id(kept[0]), id(new[0])}

    def test_nothing_happens_without_a_difference(self):
        old = parameters(2)
        optimizer = trained_sgd(old)
        update_params_in_optimizer(old, old, optimizer)
        assert optimizer.param_groups[0]["params"] == old
        assert len(optimizer.state) == 2

    def test_the_list_object_of_the_group_stays(self):
        optimizer = trained_sgd(parameters(2))
        kept = optimizer.param_groups[0]["params"]
        update_params_in_optimizer(list(kept), parameters(1), optimizer)
        assert optimizer.param_groups[0]["params"] is kept

    def test_without_old_ones_the_only_group_takes_the_new_ones(self):
        new = parameters(1)
        optimizer = trained_sgd(parameters(1))
        update_params_in_optimizer([], new, optimizer)
        assert optimizer.param_groups[0]["params"][-1] is new[0]

    def test_without_old_ones_several_groups_are_unclear(self):
        first, second = parameters(1), parameters(1)
        optimizer = trained_sgd([{"params": first}, {"params": second}])
        with pytest.raises(StateError, match="not clear to which of 2 parameter groups"):
            update_params_in_optimizer([], parameters(1), optimizer)
        assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]

    def test_old_ones_in_several_groups_are_unclear(self):
        first, second = parameters(1), parameters(1)
        optimizer = trained_sgd([{"params": first}, {"params": second}])
        with pytest.raises(StateError, match="not clear"):
            update_params_in_optimizer([*first, *second], parameters(1), optimizer)

    def test_old_ones_in_several_groups_may_go_when_nothing_comes(self):
        first, second, other = parameters(1), parameters(1), parameters(1)
        optimizer = trained_sgd([{"params": [*first, *other]}, {"params": second}])
        update_params_in_optimizer([*first, *second], [], optimizer)
        assert [len(group["params"]) for group in optimizer.param_groups] == [1, 0]
