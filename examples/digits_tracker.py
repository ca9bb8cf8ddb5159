"""A tracker of one's own for a program: started beside it, and looked at when it is done.

Nothing here is about training. Whoever keeps a tracker running needs none of this: `composer track
serve` prints two environment variables, and with them set `WandBLogger` finds it.
"""

import contextlib
import os
import re
import subprocess
import sys
import threading


@contextlib.contextmanager
def tracker(folder):
    """Run `composer track serve` while the context is open, with `wandb` pointed at it.

    Args:
        folder: where the tracker keeps its runs; they are there again next time.

    Yields:
        Its address.
    """
    words = ["track", "serve", "--folder", folder, "--port", "0"]
    server = subprocess.Popen(
        [sys.executable, "-m", "composer.cli", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        found = None
        for line in server.stdout:
            found = re.search(r"WANDB_BASE_URL=(\S+) WANDB_API_KEY=(\S+)", line)
            if found:
                break
        if found is None:
            raise RuntimeError("the tracker did not start; what it said stands above")
        os.environ |= {"WANDB_BASE_URL": found[1], "WANDB_API_KEY": found[2]}
        os.environ |= {"WANDB_DIR": folder, "WANDB_SILENT": "true"}
        yield found[1]
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def look(address, project, target):
    """Say where the runs can be seen; where somebody sits at the terminal, wait for them.

    Args:
        address: the tracker's.
        project: the project to open, at its page of quality against cost.
        target: the accuracy to mark there.
    """
    quality = "metrics/eval/MulticlassAccuracy"
    page = f"{address}/local/{project}/cost?group=group&quality={quality}&target={target}"
    if not sys.stdin.isatty():
        print(f"Dashboard: {page} (it ends with this program, which nobody watches)")
        return
    print(f"\nDashboard: {page}\nOpen it in a browser. Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
