"""A run that child processes make anew; it imports little, because they all do."""

from __future__ import annotations

import time

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.trainer.trainer import Trainer
from tests.trainer._runs import loader, make_trainer


class Pause(Callback):
    """Makes a batch take long enough for a signal to arrive in it."""

    def batch_start(self, state: State, logger: Logger) -> None:
        time.sleep(0.01)


def make_slowly() -> Trainer:
    return make_trainer(
        train_dataloader=loader(shuffle=True),
        eval_dataloader=loader(),
        callbacks=[Pause()],
        max_duration="10ep",
    )
