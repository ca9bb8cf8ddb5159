"""Logs two recipes with some seeds each, as training would: metrics, media, tables, artifacts.

Words: project, number of seeds. Prints the ids of the runs.
"""

import io
import json
import math
import os
import random
import sys
import wave

import numpy as np
import wandb
from PIL import Image

project, num_seeds = sys.argv[1], int(sys.argv[2])
RECIPES = {
    "plain": {"algorithms": [], "optimizer": {"name": "sgd", "lr": 0.05}},
    "composed": {
        "algorithms": ["LabelSmoothing", "EMA", "BlurPool"],
        "optimizer": {"name": "sgd", "lr": 0.08},
    },
}
where = os.environ["WANDB_DIR"]


def picture(rng, size=96):
    """A soft blob on a gradient, with where the blob is."""
    ys, xs = np.mgrid[0:size, 0:size] / size
    x, y = rng.uniform(0.25, 0.75, 2)
    blob = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) * 60)
    image = np.stack([xs * 0.5 + blob * 0.5, ys * 0.4 + blob * 0.6, 0.5 - blob * 0.3], axis=2)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8), (blob > 0.4).astype(np.uint8), (x, y)


def with_boxes(rng):
    image, mask, (x, y) = picture(rng)
    box = {
        "position": {"minX": x - 0.13, "maxX": x + 0.13, "minY": y - 0.13, "maxY": y + 0.13},
        "class_id": 1,
        "box_caption": "blob 0.97",
        "scores": {"confidence": 0.97},
    }
    return wandb.Image(
        image,
        caption="a blob",
        boxes={"predictions": {"box_data": [box], "class_labels": {1: "blob"}}},
        masks={"truth": {"mask_data": mask, "class_labels": {0: "nothing", 1: "blob"}}},
    )


def sound(path):
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, 8000, 4000, "NONE", ""))
        file.writeframes(
            b"".join(
                int(9000 * math.sin(i / 6)).to_bytes(2, "little", signed=True) for i in range(4000)
            )
        )
    return wandb.Audio(path, caption="a tone")


def table(rng, sharpness):
    made = wandb.Table(columns=["id", "image", "truth", "guess", "confidence"])
    for i in range(24):
        image, _, _ = picture(rng, 48)
        truth = i % 4
        guess = truth if rng.random() < sharpness else int(rng.integers(4))
        made.add_data(
            i, wandb.Image(image), f"class {truth}", f"class {guess}", float(rng.random())
        )
    return made


def train(recipe, seed):
    rng = np.random.default_rng(seed)
    random.seed(seed)
    is_fast = recipe == "composed"
    config = RECIPES[recipe] | {"recipe": recipe, "seed": seed, "batch_size": 128}
    run = wandb.init(
        project=project,
        id=f"{recipe}-{seed}",
        name=f"{recipe}, seed {seed}",
        group=recipe,
        tags=[recipe],
        notes=f"# {recipe.title()}\nSeed **{seed}**, see [the paper](https://example.org/paper).",
        config=config,
    )
    run.define_metric("epoch")
    run.define_metric("metrics/eval/*", step_metric="epoch")
    speed = (1.9 if is_fast else 1.0) * rng.uniform(0.92, 1.08)
    for step in range(600):
        at = step / 600 * speed
        row = {
            "loss/train/total": 2.3 * math.exp(-3 * at) + 0.12 + rng.normal(0, 0.03),
            "lr": config["optimizer"]["lr"] * min(1, step / 60) * (1 - step / 620),
            "time/total": step * (1.1 if is_fast else 1.0) * 0.4,
            "time/sample": step * 128,
            "throughput/samples_per_sec": 300 + 20 * rng.normal(),
        }
        if step == 300 and seed == 0 and not is_fast:
            row["loss/train/total"] = math.nan
        if step % 30 == 29:
            row |= {
                "epoch": (step + 1) // 30,
                "metrics/eval/accuracy": 0.985 * (1 - 0.9 * math.exp(-4 * at))
                + rng.normal(0, 0.004),
                "metrics/eval/loss": 1.9 * math.exp(-3 * at) + 0.2 + abs(rng.normal(0, 0.01)),
                "weights": wandb.Histogram(rng.normal(0, 1 / (1 + at), 2000)),
            }
        if step % 200 == 199:
            row["samples"] = [with_boxes(rng) for _ in range(3)]
        run.log(row)
        if step % 100 == 0:
            print(f"\x1b[32mstep {step}\x1b[0m loss {row['loss/train/total']:.4f}")
    run.log(
        {
            "predictions": table(rng, 0.95 if is_fast else 0.7),
            "tone": sound(f"{where}/tone-{recipe}-{seed}.wav"),
            "page": wandb.Html("<h1>Report</h1><p>Logged <b>HTML</b>.</p>"),
            "curve": wandb.plot.line(
                wandb.Table(columns=["recall", "precision"], data=[[0.1, 0.9], [0.8, 0.4]]),
                "recall",
                "precision",
                title="Precision over recall",
            ),
            "confusion": wandb.plot.confusion_matrix(
                y_true=[0, 1, 1], preds=[0, 1, 0], class_names=["cat", "dog"]
            ),
            "cloud": wandb.Object3D(rng.normal(size=(300, 3))),
        }
    )
    print("warning: the last batch was short", file=sys.stderr)
    data = run.use_artifact(dataset())
    data.wait()
    model = wandb.Artifact("model", "model", metadata={"recipe": recipe, "seed": seed})
    with model.new_file("weights.txt") as file:
        file.write(f"{recipe} {seed}" * 50)
    with model.new_file("readme.md") as file:
        file.write("the same in all")
    run.log_artifact(model, aliases=["best"] if is_fast else []).wait()
    run.finish()
    return run.id


def dataset():
    made = wandb.Artifact("blobs", "dataset", description="Blobs on gradients.")
    image = io.BytesIO()
    Image.fromarray(picture(np.random.default_rng(0))[0]).save(image, "PNG")
    with made.new_file("first.png", mode="wb") as file:
        file.write(image.getvalue())
    return made


print(json.dumps([train(recipe, seed) for seed in range(num_seeds) for recipe in RECIPES]))
