"""Each marked line must be an error, of the kind named in its mark."""

import torch

from composer import Time, Trainer
from composer.algorithms import LabelSmoothing, LabelSmothing  # wrong: reportAttributeAccessIssue
from composer.models import ComposerClassifier

model = ComposerClassifier(torch.nn.Linear(4, 2), num_classes=2)
Trainer(model=torch.nn.Linear(4, 2))  # wrong: reportArgumentType
Trainer(model=model, max_durations="1ep")  # wrong: reportCallIssue
Trainer(model=model, algorithms=LabelSmoothing)  # wrong: reportArgumentType
LabelSmoothing(smoothing="much")  # wrong: reportArgumentType
Time.from_epoch("1")  # wrong: reportArgumentType
