"""Reads the run of log_everything.py back through wandb.Api; prints what it found."""

import json
import os
import sys
from pathlib import Path

import wandb

api = wandb.Api()
path = sys.argv[1]
run = api.run(path)
project = path.rpartition("/")[0]
home = os.environ["WANDB_DIR"]
found = {
    "state": run.state,
    "config": dict(run.config),
    "tags": run.tags,
    "notes": run.notes,
    "group": run.group,
    "job_type": run.job_type,
    "name": run.name,
    "summary": {k: v for k, v in run.summary._json_dict.items() if not k.startswith("_")},
    "scan": [dict(row) for row in run.scan_history()],
    "scan_keys": [
        dict(row) for row in run.scan_history(keys=["_step", "loss"], min_step=10, max_step=20)
    ],
    "sampled": len(run.history(samples=50, pandas=False)),
    "system": len(run.history(stream="events", pandas=False)),
    "files": sorted(file.name for file in run.files()),
    "last_step": run.lastHistoryStep,
    "user": run.user.username,
}
with run.file("note.txt").download(root=home, replace=True) as handle:
    found["note"] = handle.read()
found["logged"] = sorted(each.name for each in run.logged_artifacts())
found["used"] = sorted({each.name for each in run.used_artifacts()})
art = api.artifact(f"{project}/data:best")
found["artifact"] = {
    "version": art.version,
    "aliases": sorted(art.aliases),
    "metadata": art.metadata,
    "description": art.description,
    "file": Path(art.download(f"{home}/dl"), "folder", "file.txt").read_text(),
    "maker": art.logged_by().id,
    "users": [each.id for each in art.used_by()],
    "again": sorted(api.artifact(f"{project}/data:again").aliases),
    "versions": sorted(each.version for each in api.artifacts("dataset", f"{project}/data")),
    "types": sorted(each.name for each in api.artifact_types(project)),
    "linked": api.artifact(f"{project}/chosen:latest").digest
    == api.artifact(f"{project}/data:v1").digest,
}
table = api.artifact(f"{project}/run-{run.id}-table:latest").get("table")
found["table"] = {"columns": table.columns, "data": table.data}
print(json.dumps(found))
