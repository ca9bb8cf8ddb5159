"""Lives of runs: resume, rewind, fork, stop. The first word says which; prints JSON."""

import json
import os
import sys
import time

import wandb

what, project, *words = sys.argv[1:]


def rows(run_id):
    run = wandb.Api().run(f"local/{project}/{run_id}")
    return [[row["_step"], row["x"]] for row in run.scan_history(keys=["_step", "x"])], run.state


def log(run, values):
    for value in values:
        run.log({"x": value})


found = {}
if what == "resume":
    with wandb.init(project=project, id="r") as run:
        log(run, range(5))
    with wandb.init(project=project, id="r", resume=words[0]) as run:
        found["start"] = run.starting_step
        log(run, range(100, 103))
    found["rows"], found["state"] = rows("r")
elif what == "must":
    try:
        wandb.init(project=project, id="none", resume="must")
    except wandb.errors.UsageError as error:
        found["error"] = str(error)
elif what == "never":
    with wandb.init(project=project, id="n") as run:
        log(run, range(2))
    try:
        wandb.init(project=project, id="n", resume="never")
    except wandb.errors.UsageError as error:
        found["error"] = str(error)
elif what == "afresh":
    with wandb.init(project=project, id="a") as run:
        log(run, range(8))
    with wandb.init(project=project, id="a") as run:
        log(run, range(50, 53))
    found["rows"], found["state"] = rows("a")
elif what == "rewind":
    with wandb.init(project=project, id="w") as run:
        log(run, range(10))
    with wandb.init(project=project, resume_from="w?_step=4") as run:
        log(run, range(100, 103))
    found["rows"], found["state"] = rows("w")
elif what == "fork":
    with wandb.init(project=project, id="p") as run:
        log(run, range(10))
    with wandb.init(project=project, id="c", fork_from="p?_step=2") as run:
        log(run, range(100, 102))
    found["rows"], found["state"] = rows("c")
    found["parent"], _ = rows("p")
elif what == "fail":
    run = wandb.init(project=project, id="f")
    log(run, range(2))
    run.finish(exit_code=3)
    found["rows"], found["state"] = rows("f")
elif what == "edit":
    with wandb.init(project=project, id="e", config={"a": 1}, tags=["t"]) as run:
        log(run, range(3))
    api = wandb.Api()
    run = api.run(f"local/{project}/e")
    run.config["a"] = 2
    run.tags = []
    run.notes = "new"
    run.name = "renamed"
    run.update()
    run.summary["best"] = 7
    run.summary.update()
    api.flush()
    again = wandb.Api().run(f"local/{project}/e")
    found = {
        "config": dict(again.config),
        "tags": again.tags,
        "notes": again.notes,
        "name": again.name,
        "best": again.summary["best"],
    }
    file = next(each for each in again.files() if each.name == "requirements.txt")
    file.delete()
    found["files"] = [each.name for each in wandb.Api().run(f"local/{project}/e").files()]
    again.delete()
    found["left"] = [each.id for each in wandb.Api().runs(f"local/{project}")]
elif what == "filter":
    for i in range(5):
        with wandb.init(
            project=project, id=f"q{i}", config={"lr": i, "deep": {"k": i % 2}}, tags=[f"t{i % 2}"]
        ) as run:
            run.log({"x": -i})
    api = wandb.Api()

    def ids(**arguments):
        return [each.id for each in api.runs(f"local/{project}", **arguments)]

    found = {
        "lr": ids(filters={"config.lr": {"$gte": 3}}, order="+config.lr"),
        "deep": ids(filters={"config.deep.k": 1}, order="+created_at"),
        "or": ids(
            filters={"$or": [{"config.lr": 0}, {"display_name": "nothing"}, {"name": "q4"}]},
            order="-config.lr",
        ),
        "tags": ids(filters={"tags": {"$in": ["t1"]}}, order="+config.lr"),
        "regex": ids(filters={"name": {"$regex": "^q[12]$"}}, order="+config.lr"),
        "by_summary": ids(order="+summary_metrics.x"),
        "paged": len(list(api.runs(f"local/{project}", per_page=2))),
        "projects": [each.name for each in api.projects("local")],
    }
elif what == "offline":
    os.environ["WANDB_MODE"] = "offline"
    run = wandb.init(project=project, id="o", config={"k": 1}, name="off")
    log(run, range(20))
    print("said offline")
    artifact = wandb.Artifact("offart", "dataset")
    with artifact.new_file("a.txt") as handle:
        handle.write("offline artifact")
    run.log_artifact(artifact)
    run.finish()
    found["dir"] = os.path.dirname(run.dir)
elif what == "live":
    os.environ["WANDB_MODE"] = "offline"
    run = wandb.init(project=project, id="live", config={"k": 1})
    for i in range(40):
        run.log({"x": i})
        time.sleep(0.05)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    run.finish()
elif what == "stop":
    run = wandb.init(
        project=project, id="s", settings=wandb.Settings(x_file_stream_transmit_interval=0.5)
    )
    try:
        for i in range(1600):
            run.log({"x": i})
            time.sleep(0.05)
        found["stopped"] = False
    except KeyboardInterrupt:
        found["stopped"] = True
    run.finish()
print(json.dumps(found))
