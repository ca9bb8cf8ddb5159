import torch

from composer.algorithms.no_op_model import NoOpModel, NoOpModelClass
from composer.core.event import Event
from composer.trainer.trainer import Trainer
from tests.algorithms._runs import HandRun, classifier, image_batch


def test_one_parameter_takes_the_place_of_the_model() -> None:
    run = HandRun(NoOpModel())
    run.run(Event.INIT)
    model = run.state.model
    assert isinstance(model, NoOpModelClass)
    assert [name for name, _ in model.named_parameters()] == ["weights"]
    assert run.state.optimizers[0].param_groups[0]["params"] == [model.weights]


def test_its_gradient_is_that_of_a_square() -> None:
    model = NoOpModelClass(classifier())
    batch = image_batch()
    model.loss(model(batch), batch).backward()
    assert model.weights.grad == 2.0


def test_all_groups_of_all_optimizers_let_go_of_the_old_parameters() -> None:
    model = classifier()
    convolutions, others = [], []
    for parameter in model.parameters():
        (convolutions if parameter.ndim == 4 else others).append(parameter)
    first = torch.optim.SGD([{"params": convolutions[:1]}, {"params": convolutions[1:]}], lr=0.1)
    second = torch.optim.Adam(others)
    trainer = Trainer(
        model=model,
        optimizers=[first, second],
        algorithms=NoOpModel(),
        train_dataloader=[image_batch()],
        max_duration="2ba",
        progress_bar=False,
    )
    trainer.fit()
    held = [p for each in (first, second) for group in each.param_groups for p in group["params"]]
    assert held == [trainer.state.model.weights]
    assert trainer.state.model.weights < 1


def test_evaluation_runs_without_metrics() -> None:
    trainer = Trainer(model=classifier(), algorithms=NoOpModel(), progress_bar=False)
    trainer.eval(eval_dataloader=[image_batch()])
    assert trainer.state.eval_metrics == {"eval": {}}
