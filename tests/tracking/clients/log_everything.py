"""Logs one run with every kind of thing; prints its id and what was logged."""

import json
import math
import os
import sys

import numpy as np
import wandb

where = os.environ["WANDB_DIR"]
run = wandb.init(
    project=sys.argv[1],
    name="first",
    config={"lr": 0.1, "nested": {"a": [1, 2]}},
    tags=["b", "a"],
    notes="some notes",
    group="g",
    job_type="train",
)
run.define_metric("epoch")
run.define_metric("val/*", step_metric="epoch")
run.define_metric("loss", summary="min")
rows = []
for i in range(300):
    row = {
        "loss": 1 / (i + 1),
        "epoch": i // 10,
        "val/acc": i * 2,
        "text": f"t{i}",
        "flag": i % 2 == 0,
    }
    if i == 3:
        row["odd"] = math.nan
    if i == 4:
        row["odd"] = -math.inf
    rows.append(row)
    run.log(row)
print("a line of output")
print("an error line", file=sys.stderr)
run.config.update({"later": "x"})
image = np.zeros((4, 4, 3), dtype=np.uint8)
run.log({"img": wandb.Image(image, caption="c"), "hist": wandb.Histogram([1, 2, 3])})
run.log({"html": wandb.Html("<script>alert(1)</script>")})
run.log({"table": wandb.Table(columns=["a", "b"], data=[[1, 2], [3, 4]])})
with open(f"{where}/note.txt", "w") as file:
    file.write("note")
run.save(f"{where}/note.txt", base_path=where)


def artifact(text, name="data"):
    made = wandb.Artifact(name, "dataset", description="d", metadata={"k": 1})
    with made.new_file("folder/file.txt") as handle:
        handle.write(text)
    with made.new_file("same.txt") as handle:
        handle.write("the same in every version")
    return made


run.log_artifact(artifact("one"), aliases=["best"]).wait()
run.log_artifact(artifact("two")).wait()
run.log_artifact(artifact("two"), aliases=["again"]).wait()
run.use_artifact("data:best").wait()
run.link_artifact(run.use_artifact("data:v1"), f"{sys.argv[1]}/chosen")
run.alert("Careful", "something happened", level=wandb.AlertLevel.WARN)
run.summary["own"] = 12
run.finish()
print(json.dumps({"id": run.id, "entity": run.entity, "num_rows": len(rows)}))
