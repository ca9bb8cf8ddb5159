"""The real SDK logs one run with everything to the real server, and reads it back."""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tracking.tracker import Tracker

pytest.importorskip("wandb", reason="the real client is what is tested here")

Seen = dict[str, Any]
# Interpreters with other versions of the client, as `name=path` separated by colons.
OTHERS = dict(
    each.split("=", 1) for each in os.environ.get("COMPOSER_WANDB_PYTHONS", "").split(":") if each
)


@pytest.fixture(scope="module", params=["this", *OTHERS])
def seen(
    request: pytest.FixtureRequest, tracker: Tracker, tmp_path_factory: pytest.TempPathFactory
) -> Seen:
    python = OTHERS.get(request.param, sys.executable)
    home = tmp_path_factory.mktemp("client")
    project = f"everything-{request.param}"
    logged = tracker.client("log_everything.py", home, project, python=python)
    path = f"{logged['entity']}/{project}/{logged['id']}"
    found = tracker.client("read_everything.py", home, path, python=python)
    return found | {"id": logged["id"], "project": project}


def test_a_finished_run_has_what_it_was_started_with(seen: Seen) -> None:
    assert seen["state"] == "finished"
    assert seen["name"] == "first"
    assert seen["config"] == {"lr": 0.1, "nested": {"a": [1, 2]}, "later": "x"}
    assert sorted(seen["tags"]) == ["a", "b"]
    assert (seen["notes"], seen["group"], seen["job_type"]) == ("some notes", "g", "train")
    assert seen["user"] == "local"


def test_every_row_comes_back_to_the_bit(seen: Seen) -> None:
    rows = [row for row in seen["scan"] if "loss" in row]
    assert [row["_step"] for row in rows] == list(range(300))
    assert [row["loss"] for row in rows] == [1 / (i + 1) for i in range(300)]
    assert [row["text"] for row in rows] == [f"t{i}" for i in range(300)]
    assert [row["flag"] for row in rows] == [i % 2 == 0 for i in range(300)]
    assert [row["val/acc"] for row in rows] == [2 * i for i in range(300)]


def test_numbers_that_are_not_finite_come_back(seen: Seen) -> None:
    assert math.isnan(float(seen["scan"][3]["odd"]))
    assert float(seen["scan"][4]["odd"]) == -math.inf


def test_a_range_of_steps_can_be_read(seen: Seen) -> None:
    # Clients before 0.28 include the last step.
    assert [row["_step"] for row in seen["scan_keys"]] in (list(range(10, 20)), list(range(10, 21)))
    assert all(set(row) == {"_step", "loss"} for row in seen["scan_keys"])


def test_a_sample_has_the_size_asked_for(seen: Seen) -> None:
    assert seen["sampled"] == 50
    assert seen["last_step"] == 302


def test_the_summary_keeps_what_define_metric_asked_for(seen: Seen) -> None:
    assert seen["summary"]["own"] == 12
    assert seen["summary"]["loss"] in ({"min": 1 / 300}, 1 / 300)
    assert seen["summary"]["img"]["_type"] == "image-file"


def test_files_and_media_come_back(seen: Seen) -> None:
    assert seen["note"] == "note"
    names = seen["files"]
    assert {
        "config.yaml",
        "wandb-metadata.json",
        "wandb-summary.json",
        "requirements.txt",
        "note.txt",
    } <= set(names)
    assert any(name.startswith("media/images/") for name in names)
    assert any(name.startswith("media/html/") for name in names)


def test_artifacts_have_versions_and_aliases(seen: Seen) -> None:
    found = seen["artifact"]
    assert found["version"] == "v0"
    assert found["aliases"] == ["best"]
    assert found["metadata"] == {"k": 1}
    assert found["description"] == "d"
    assert found["file"] == "one"
    assert found["versions"] == ["v0", "v1"]


def test_the_same_contents_make_no_new_version(seen: Seen) -> None:
    assert seen["artifact"]["again"] == ["again", "latest"]


def test_lineage_names_who_made_and_used_an_artifact(seen: Seen) -> None:
    assert seen["artifact"]["maker"] == seen["id"]
    assert seen["id"] in seen["artifact"]["users"]
    assert "data:v0" in seen["logged"]
    assert "data:v0" in seen["used"]


def test_an_artifact_can_be_linked_into_another_collection(seen: Seen) -> None:
    assert seen["artifact"]["linked"] is True


def test_a_table_comes_back(seen: Seen) -> None:
    assert seen["table"] == {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}


def test_the_console_is_kept(seen: Seen, tracker: Tracker) -> None:
    status, found = tracker.ask(
        f"/api/run/logs?entity=local&project={seen['project']}&run={seen['id']}"
    )
    assert status == 200
    assert any("a line of output" in line["line"] for line in found["lines"])
    assert any(
        "an error line" in line["line"] and line["level"] == "error" for line in found["lines"]
    )


def test_an_alert_is_kept(seen: Seen, tracker: Tracker) -> None:
    _, found = tracker.ask(f"/api/run?entity=local&project={seen['project']}&run={seen['id']}")
    assert [alert["title"] for alert in found["alerts"]] == ["Careful"]


def test_logged_html_cannot_run_scripts(seen: Seen, tracker: Tracker) -> None:
    _, found = tracker.ask(
        f"/api/run/files?entity=local&project={seen['project']}&run={seen['id']}"
    )
    url = next(each["url"] for each in found if each["name"].endswith(".html"))
    import urllib.request

    with urllib.request.urlopen(url) as answer:
        assert answer.headers["Content-Security-Policy"].startswith("sandbox;")
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_manifests_do_not_tell_of_the_uploaders_machine(seen: Seen, tracker: Tracker) -> None:
    answer = tracker.graphql(
        'query Q($p: String) {project(name: $p) {artifact(name: "data:v0") '
        "{currentManifest {file {directUrl}}}}}",
        p=seen["project"],
    )
    url = answer["data"]["project"]["artifact"]["currentManifest"]["file"]["directUrl"]
    status, manifest = tracker.ask(url, key=None)
    assert status == 200
    assert set(manifest["contents"]["folder/file.txt"]) >= {"digest", "size"}
    assert "local_path" not in json.dumps(manifest)


def test_nothing_unknown_was_asked(seen: Seen, tracker: Tracker) -> None:
    text = Path(tracker.log).read_text()
    assert "unknown GraphQL field" not in text
    assert "Traceback" not in text
