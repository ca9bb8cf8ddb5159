"""Measures the tracker: a real client's run, a load generator, large projects, disk per number.

Run: python benchmarks/tracking.py [sdk|peers|load|large|all]. Prints one line per measurement; the
targets stand beside them. Server figures are of the server's process: CPU is the difference over
the work, memory the resident set at its highest.
"""

import argparse
import asyncio
import base64
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

SDK = """
import sys, time, random, wandb
run = wandb.init(project="bench", id=sys.argv[1])
start = time.perf_counter()
for i in range(int(sys.argv[2])):
    run.log({f"m{k}": random.random() for k in range(10)})
run.finish()
print(time.perf_counter() - start)
"""
READ = """
import time, wandb, json, sys
api = wandb.Api()
run = api.run("local/bench/" + sys.argv[1])
run.history(samples=10, pandas=False)
start = time.perf_counter()
n = len(run.history(pandas=False))
history = time.perf_counter() - start
start = time.perf_counter(); m = len(list(run.scan_history())); scan = time.perf_counter() - start
print(json.dumps([history, n, scan, m]))
"""

# The same run in other trackers, as each is used on one machine; the last line is CPU seconds of
# the process and its children.
PEER_HEAD = """
import os, random, sys
folder, steps = sys.argv[1], int(sys.argv[2])
rows = [{f"m{k}": random.random() for k in range(10)} for _ in range(steps)]
def used():
    return sum(os.times()[:4])
"""
PEERS = {
    "tensorboard": """
from torch.utils.tensorboard import SummaryWriter
start = used()
writer = SummaryWriter(folder)
for step, row in enumerate(rows):
    for name, value in row.items():
        writer.add_scalar(name, value, step)
writer.close()
print(used() - start)
""",
    "mlflow": """
import mlflow
mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
client = mlflow.MlflowClient()
run = client.create_run(client.create_experiment("bench", artifact_location=folder))
from mlflow.entities import Metric
start = used()
for first in range(0, steps, 100):
    metrics = [
        Metric(name, value, 1_700_000_000_000 + step, step)
        for step in range(first, min(first + 100, steps))
        for name, value in rows[step].items()
    ]
    client.log_batch(run.info.run_id, metrics)
print(used() - start)
""",
}


class Server:
    def __init__(self, folder: Path | None = None) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="tracking-"))
        self.folder = folder or self.home / "store"
        start = time.perf_counter()
        words = ["track", "serve", "--folder", str(self.folder), "--port", "0"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "composer.cli", *words], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        text = "".join(self.process.stdout.readline() for _ in range(3))
        self.start_s = time.perf_counter() - start
        found = re.search(r"WANDB_BASE_URL=(\S+) WANDB_API_KEY=(\S+)", text)
        assert found is not None
        self.url, self.key = found[1], found[2]
        self.ps = psutil.Process(self.process.pid)
        self.auth = {
            "Authorization": "Basic " + base64.b64encode(f"api:{self.key}".encode()).decode()
        }

    def cpu_s(self) -> float:
        times = self.ps.cpu_times()
        return times.user + times.system

    def peak_mb(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+)", text)
        assert found is not None
        return int(found[1]) / 1024

    def disk_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def environment(self) -> dict[str, str]:
        import os

        return os.environ | {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": self.key,
            "WANDB_DIR": str(self.home),
            "WANDB_CACHE_DIR": str(self.home / "cache"),
            "WANDB_CONFIG_DIR": str(self.home / "config"),
            "WANDB_DATA_DIR": str(self.home / "data"),
            "WANDB_SILENT": "true",
        }

    def client(self, script: str, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip().splitlines()[-1]

    def make_run(self, client: httpx.Client, project: str, name: str) -> None:
        query = (
            "mutation M($p: String, $n: String) {upsertBucket(input: {modelName: $p, "
            "name: $n}) {bucket {id}}}"
        )
        answer = client.post(
            self.url + "/graphql",
            json={"query": query, "variables": {"p": project, "n": name}},
            headers=self.auth,
        )
        answer.raise_for_status()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def report(what: str, value: float, unit: str, target: str) -> None:
    print(f"{what:58s} {value:12.3f} {unit:8s} target {target}", flush=True)


def body(start: int, count: int, keys: int = 10) -> bytes:
    content = []
    for i in range(start, start + count):
        row: dict[str, Any] = {f"m{k}": random.random() for k in range(keys)}
        row |= {
            "_step": i,
            "_timestamp": 1.7e9 + i + random.random(),
            "_runtime": i + random.random(),
        }
        content.append(json.dumps(row))
    return json.dumps(
        {"files": {"wandb-history.jsonl": {"offset": start, "content": content}}}
    ).encode()


def sdk() -> None:
    server = Server()
    report("start of the server", server.start_s, "s", "< 2")
    server.client(SDK, "warm", "10")
    cpu, disk = server.cpu_s(), server.disk_bytes()
    seconds = float(server.client(SDK, "run", "20000"))
    time.sleep(0.5)
    report("SDK run of 20,000 x 10: server CPU", server.cpu_s() - cpu, "s", "<= 0.15")
    report("SDK run of 20,000 x 10: memory at its highest", server.peak_mb(), "MB", "<= 80")
    report("SDK run of 20,000 x 10: disk", (server.disk_bytes() - disk) / 1e6, "MB", "<= 5")
    report("SDK run of 20,000 x 10: client's time", seconds, "s", "-")
    history, n, scan, m = json.loads(server.client(READ, "run"))
    report(f"Api history() of {n} rows", history * 1000, "ms", "< 50")
    report(f"Api scan_history() of {m} rows", scan, "s", "< 1")
    server.stop()


def peers(steps: int = 20_000) -> None:
    """Log one run of 10 metrics with the SDK to this server, and to other trackers."""
    server = Server()
    server.client(SDK, "warm", "10")
    cpu, disk = server.cpu_s(), server.disk_bytes()
    seconds = float(server.client(SDK, "run", str(steps)))
    time.sleep(0.5)
    what = f"{steps:,} steps x 10"
    report(f"{what}: ours, CPU of the server", server.cpu_s() - cpu, "s", "-")
    report(f"{what}: ours, time of the client", seconds, "s", "-")
    report(f"{what}: ours, disk", (server.disk_bytes() - disk) / 1e6, "MB", "-")
    server.stop()
    for name, script in PEERS.items():
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", PEER_HEAD + script, folder, str(steps)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                print(f"{name}: not measured: {done.stderr.strip().splitlines()[-1]}", flush=True)
                continue
            size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            used = float(done.stdout.split()[-1])
            report(f"{what}: {name}, CPU of client and store", used, "s", "-")
            report(f"{what}: {name}, time", time.perf_counter() - start, "s", "-")
            report(f"{what}: {name}, disk", size / 1e6, "MB", "-")


async def _load(
    server: Server, names: list[str], seconds: float, rows_per_post: int, rate: float | None
) -> tuple[float, list[float]]:
    """Post rows for some seconds; return rows a second and the time of each post.

    Without a rate each run posts as fast as it is answered; with one all together post that many
    rows a second, each run at its own steady beat, as clients do.
    """
    bodies = [body(i * rows_per_post, rows_per_post) for i in range(60)]
    times: list[float] = []
    count = 0
    pause = 0.0 if rate is None else len(names) * rows_per_post / rate
    host, port = server.url.removeprefix("http://").split(":")
    start = time.perf_counter()

    async def one(name: str, delay: float) -> None:
        # Bare sockets: a client library would take more of the two cores than the server.
        nonlocal count
        reader, writer = await asyncio.open_connection(host, int(port))
        due = start + delay
        for data in bodies:
            await asyncio.sleep(due - time.perf_counter())
            if time.perf_counter() > start + seconds:
                break
            # Waiting in this generator counts too: a post is late from when it was due.
            began = time.perf_counter() if rate is None else due
            head = (
                f"POST /files/local/load/{name}/file_stream HTTP/1.1\r\nHost: {host}:{port}\r\n"
                f"Authorization: {server.auth['Authorization']}\r\nContent-Length: "
                f"{len(data)}\r\n\r\n"
            )
            writer.write(head.encode() + data)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            found = re.search(rb"content-length: (\d+)", answer.lower())
            assert found is not None
            await reader.readexactly(int(found[1]))
            times.append(time.perf_counter() - began)
            count += rows_per_post
            due += pause
        writer.close()

    delays = [pause * i / len(names) for i in range(len(names))]
    await asyncio.gather(*(map(one, names, delays)))
    return count / (time.perf_counter() - start), times


def _report_load(what: str, rate: float, times: list[float], target: str) -> None:
    times.sort()
    report(f"{what}: rows/s", rate, "rows/s", target)
    report(f"{what}: median", 1000 * statistics.median(times), "ms", "-")
    report(f"{what}: p99", 1000 * times[int(len(times) * 0.99)], "ms", "< 200")


def load() -> None:
    server = Server()
    names = [f"r{i}" for i in range(200)]
    with httpx.Client() as client:
        for name in names:
            server.make_run(client, "load", name)
    most = asyncio.run(_load(server, names[:8], 8, 250, None))
    _report_load("8 runs, as fast as they can", *most, ">= 50,000")
    steady = asyncio.run(_load(server, names[8:108], 8, 250, 51_000))
    _report_load("100 runs, 51,000 rows/s in all", *steady, ">= 50,000")
    _with_real_clients(server, names[108:198])
    report("memory at its highest", server.peak_mb(), "MB", "< 500")
    server.stop()


def _with_real_clients(server: Server, names: list[str], num_clients: int = 10) -> None:
    """Time real clients alone and among others that post."""
    alone = float(server.client(SDK, "alone", "1000"))
    words = [sys.executable, "-c", SDK]
    clients = [
        subprocess.Popen(
            [*words, f"client{i}", "1000"],
            env=server.environment(), stdout=subprocess.PIPE, text=True,
        )
        for i in range(num_clients)
    ]  # fmt: skip
    rate, times = asyncio.run(_load(server, names, 12, 50, 9_000))
    took = [float(client.communicate()[0].split()[-1]) for client in clients]
    what = f"{len(names)} runs beside {num_clients} real clients"
    _report_load(what, rate, times, "-")
    report("a real client's 1,000 steps x 10, alone", alone, "s", "-")
    report(f"the slowest of {num_clients} beside {len(names)} runs", max(took), "s", "-")


def large(num_runs: int, num_points: int, num_long: int) -> None:
    server = Server()
    keys = 3
    with httpx.Client(timeout=120) as client:
        data = [body(start, 2000, keys) for start in range(0, num_points, 2000)]
        start = time.perf_counter()
        for i in range(num_runs):
            server.make_run(client, "many", f"r{i}")
            for part in data:
                client.post(
                    f"{server.url}/files/local/many/r{i}/file_stream",
                    content=part,
                    headers=server.auth,
                )
        print(
            f"{num_runs} x {num_points} posted in {time.perf_counter() - start:.0f} s", flush=True
        )
        numbers = num_runs * num_points * (keys + 2)
        report("disk per stored number", server.disk_bytes() / numbers, "bytes", "<= 24")
        server.make_run(client, "long", "r")
        for at in range(0, num_long, 20000):
            client.post(
                f"{server.url}/files/local/long/r/file_stream",
                content=body(at, 20000, 1),
                headers=server.auth,
            )
        _read(server, client, num_runs, num_points, num_long)
    report("memory at its highest", server.peak_mb(), "MB", "< 500")
    server.stop()


def _read(
    server: Server, client: httpx.Client, num_runs: int, num_points: int, num_long: int
) -> None:
    def timed(what: str, path: str, target: str) -> None:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            answer = client.get(server.url + path, headers=server.auth)
            answer.raise_for_status()
            times.append(time.perf_counter() - start)
        report(
            f"{what} ({len(answer.content) / 1e3:.0f} kB)",
            1000 * statistics.median(times),
            "ms",
            target,
        )

    timed(f"listing of {num_runs} runs", "/api/runs?entity=local&project=many&limit=1000", "< 300")
    names = ",".join(f"r{i}" for i in range(min(20, num_runs)))
    chart = f"/api/chart?entity=local&project=many&runs={names}&key=m0&points=800"
    timed("chart of 20 runs, everything", chart, "< 300")
    timed(
        "chart of 20 runs, a tenth",
        f"{chart}&low={num_points * 0.4}&high={num_points * 0.5}",
        "< 300",
    )
    timed(
        "chart of 20 runs, a hundredth",
        f"{chart}&low={num_points * 0.4}&high={num_points * 0.41}",
        "< 300",
    )
    one = "/api/chart?entity=local&project=long&runs=r&key=m0&points=800"
    for share in (1, 0.1, 0.001, 0.00005):
        span = f"&low={num_long * 0.3}&high={num_long * (0.3 + share * 0.7)}" if share < 1 else ""
        timed(f"chart of {num_long} points, {share:g} of it", one + span, "< 300")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what", nargs="?", default="all", choices=["sdk", "peers", "load", "large", "all"]
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--long", type=int, default=10_000_000)
    given = parser.parse_args()
    if given.what in ("sdk", "all"):
        sdk()
    if given.what in ("peers", "all"):
        peers()
    if given.what in ("load", "all"):
        load()
    if given.what in ("large", "all"):
        large(given.runs, given.points, given.long)


if __name__ == "__main__":
    main()
