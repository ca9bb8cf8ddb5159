"""One fresh process: how long until the first step is done, and how much memory it takes.

``overhead.py`` starts it with ``hand`` or ``trainer`` and reads the JSON it prints. The network is
the same, but a loop by hand loads no Composer.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import torch
from torch import nn

torch.set_num_threads(1)
STEPS = 200
kind = sys.argv[1]
began = time.perf_counter()
if kind == "trainer":
    from composer import ComposerModel, Trainer
imported = time.perf_counter()

times: list[float] = []


class Batches:
    def __iter__(self):
        torch.manual_seed(1)
        for _ in range(STEPS):
            times.append(time.perf_counter())
            yield torch.randn(32, 32), torch.randint(10, (32,))
        times.append(time.perf_counter())


class Network(ComposerModel if kind == "trainer" else nn.Module):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, batch):
        return self.network(batch[0])

    def loss(self, outputs, batch):
        return nn.functional.cross_entropy(outputs, batch[1])


model = Network()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
if kind == "trainer":
    trainer = Trainer(
        model=model,
        train_dataloader=Batches(),
        max_duration="1ep",
        optimizers=optimizer,
        device="cpu",
        progress_bar="with-bar" in sys.argv,
    )
    trainer.fit()
    trainer.close()
else:
    for batch in Batches():
        optimizer.zero_grad()
        model.loss(model(batch), batch).backward()
        optimizer.step()

print(
    json.dumps(
        {
            "import_s": imported - began,
            "first_step_s": times[1] - began,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )
)
