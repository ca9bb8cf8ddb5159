"""Training needs nothing that only some systems have."""

from __future__ import annotations

import os
import subprocess
import sys

# Modules of Python that Windows does not have; `None` makes an import of them fail.
ABSENT = ("fcntl", "grp", "pwd", "resource", "termios")
PROGRAM = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT!r}))
import os, tempfile, torch
from composer import Trainer
from composer.loggers import InMemoryLogger
from composer.models import ComposerClassifier
del os.getuid, os.geteuid
net = torch.nn.Linear(4, 2)
batches = [(torch.randn(8, 4), torch.zeros(8, dtype=torch.int64))] * 3
with tempfile.TemporaryDirectory() as folder:
    trainer = Trainer(
        model=ComposerClassifier(net, num_classes=2), train_dataloader=batches,
        max_duration="1ep", optimizers=torch.optim.SGD(net.parameters(), lr=0.1),
        loggers=InMemoryLogger(), progress_bar=False, save_folder=folder,
    )
    trainer.fit()
    print(len(trainer.saved_checkpoints))
    trainer.close()
"""


def test_a_run_with_checkpoints_goes_without_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1"
