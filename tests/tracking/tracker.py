"""A tracker as its users have it: a process of its own, and clients in processes of theirs."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CLIENTS = Path(__file__).parent / "clients"


class Tracker:
    """A server process."""

    def __init__(self, folder: Path, *arguments: str, port: int = 0) -> None:
        self.folder = folder
        self.log = folder.with_name(folder.name + ".log")
        words = ["track", "serve", "--folder", str(folder), "--port", str(port), *arguments]
        with self.log.open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "composer.cli", *words],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(3)]
        found = re.search(r"WANDB_BASE_URL=(\S+) WANDB_API_KEY=(\S+)", lines[2])
        assert found is not None, (lines, self.log.read_text())
        self.url, self.key = found[1], found[2]
        self.port = int(self.url.rstrip("/").rsplit(":", 1)[1].split("/")[0])

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def environment(self, home: Path, key: str | None = None) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
        return kept | {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": key or self.key,
            "WANDB_DIR": str(home),
            "WANDB_CACHE_DIR": str(home / "cache"),
            "WANDB_CONFIG_DIR": str(home / "config"),
            "WANDB_DATA_DIR": str(home / "data"),
            "WANDB_SILENT": "true",
            "WANDB_CONSOLE": "wrap",
            "HOME": str(home),
            "PYTHONWARNINGS": "ignore",
        }

    def client(
        self,
        script: str,
        home: Path,
        *words: str,
        python: str = sys.executable,
        key: str | None = None,
        timeout: float = 100,
        **extra: str,
    ) -> Any:
        """Run a script of ``clients/``; returns the JSON it prints last."""
        home.mkdir(exist_ok=True, parents=True)
        done = subprocess.run(
            [python, str(CLIENTS / script), *words],
            env=self.environment(home, key) | extra,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    def ask(
        self,
        path: str,
        body: Any = None,
        method: str | None = None,
        key: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """A request; returns status and JSON (or text). ``key=""`` sends the first user's key."""
        request = urllib.request.Request(
            path if path.startswith("http") else self.url + path, method=method
        )
        if body is not None:
            request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if key is not None:
            text = base64.b64encode(f"api:{key or self.key}".encode()).decode()
            request.add_header("Authorization", f"Basic {text}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, data = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, data = error.code, error.read()
        try:
            return status, json.loads(data)
        except ValueError:
            return status, data

    def graphql(self, query: str, key: str | None = "", **variables: Any) -> Any:
        status, answer = self.ask("/graphql", {"query": query, "variables": variables}, key=key)
        assert status == 200, (status, answer)
        return answer

    def make_run(self, project: str, name: str) -> str:
        answer = self.graphql(
            "mutation M($p: String, $n: String) {upsertBucket(input: {modelName: $p, name: $n})"
            "{bucket {id project {entity {name}}}}}",
            p=project,
            n=name,
        )
        return answer["data"]["upsertBucket"]["bucket"]["id"]

    def post(self, project: str, run: str, body: Any) -> tuple[int, Any]:
        return self.ask(f"/files/local/{project}/{run}/file_stream", body)


def lines(start: int, count: int, **more: Any) -> dict[str, Any]:
    """A post of history rows, with the step as value."""
    content = [
        json.dumps({"_step": i, "loss": i / 7, "_timestamp": 1e9 + i, "_runtime": float(i)} | more)
        for i in range(start, start + count)
    ]
    return {"files": {"wandb-history.jsonl": {"offset": start, "content": content}}}
