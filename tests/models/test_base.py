"""The interface between a model and the Trainer."""

import copy
import pickle
import threading

import pytest
import torch

from composer.models.base import ComposerModel


class Doubler(ComposerModel):
    """Smallest complete model."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, batch):
        return batch * self.scale

    def loss(self, outputs, batch):
        return outputs.mean()


def model_with_logger() -> Doubler:
    model = Doubler()
    model.logger = threading.Lock()  # stands for a logger; can be neither copied nor pickled
    return model


def test_forward_and_loss_must_be_implemented():
    class OnlyForward(ComposerModel):
        def forward(self, batch):
            return batch

    with pytest.raises(TypeError, match="loss"):
        OnlyForward()


def test_the_logger_is_none_before_training():
    assert Doubler().logger is None


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_copies_have_the_weights_but_not_the_logger(duplicate):
    model = model_with_logger()
    other = duplicate(model)
    assert model.logger is not None
    assert other.logger is None
    assert other(torch.tensor(3.0)) == 6.0


def test_a_model_compiled_in_place_can_be_pickled():
    model = model_with_logger()
    model.compile(backend="eager")
    assert pickle.loads(pickle.dumps(model))(torch.tensor(3.0)) == 6.0


def test_the_logger_is_not_in_the_state_dict():
    assert list(model_with_logger().state_dict()) == ["scale"]


def test_eval_forward_computes_outputs_when_there_are_none():
    assert Doubler().eval_forward(torch.tensor(3.0)) == 6.0


def test_eval_forward_returns_known_outputs_unchanged():
    outputs = object()
    assert Doubler().eval_forward(torch.tensor(3.0), outputs) is outputs


def test_eval_forward_runs_forward_hooks():
    model = Doubler()
    seen = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model.eval_forward(torch.tensor(3.0))
    assert len(seen) == 1


def test_a_model_has_no_metrics_by_default():
    assert Doubler().get_metrics(is_train=True) == {}
    assert Doubler().get_metrics(is_train=False) == {}


def test_updating_a_metric_without_implementing_it_says_what_to_do():
    with pytest.raises(NotImplementedError, match=r"Doubler has the metric .* Implement it"):
        Doubler().update_metric(torch.tensor(3.0), torch.tensor(6.0), torch.nn.Identity())


def test_flops_per_batch_is_absent_unless_the_model_gives_it():
    assert not hasattr(Doubler(), "flops_per_batch")
