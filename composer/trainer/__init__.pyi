from composer.trainer.trainer import Trainer as Trainer
