"""A whole training program, typed as strictly as pyright can."""

import torch
from torch.utils.data import DataLoader, TensorDataset

from composer import Callback, Evaluator, Event, Logger, State, Time, Trainer
from composer.algorithms import EMA, LabelSmoothing
from composer.loggers import InMemoryLogger
from composer.models import ComposerClassifier
from composer.optim import CosineAnnealingScheduler, DecoupledAdamW


class Watch(Callback):
    """Looks at the loss."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def batch_end(self, state: State, logger: Logger) -> None:
        """Log the number of the batch."""
        self.seen.append(int(state.timestamp.batch))
        logger.log_metrics({"seen": len(self.seen)})


def main() -> dict[str, float]:
    """Train and return the last losses."""
    network = torch.nn.Linear(4, 2)
    data = TensorDataset(torch.randn(8, 4), torch.zeros(8, dtype=torch.int64))
    memory = InMemoryLogger()
    trainer = Trainer(
        model=ComposerClassifier(network, num_classes=2),
        train_dataloader=DataLoader(data, batch_size=4),
        eval_dataloader=Evaluator(label="test", dataloader=DataLoader(data, batch_size=4)),
        optimizers=DecoupledAdamW(network.parameters(), lr=0.1),
        schedulers=CosineAnnealingScheduler(t_max="1dur"),
        algorithms=[LabelSmoothing(0.1), EMA("2ba")],
        callbacks=[Watch()],
        loggers=memory,
        max_duration=Time.from_epoch(1),
        device_train_microbatch_size="auto",
    )
    trainer.fit(duration="2ba")
    trainer.eval()
    assert trainer.state.timestamp >= "2ba"
    assert Event.BATCH_END.is_after_event
    return {name: float(values[-1][1]) for name, values in memory.data.items()}
