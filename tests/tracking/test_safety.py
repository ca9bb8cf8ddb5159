"""Nothing a stranger sends gives a 5xx, runs script, or leaves the folder."""

import json
import re
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tracking.tracker import Tracker, lines

hostile = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "..",
            "../../etc/passwd",
            "%2e%2e",
            "\0",
            "a/b",
            "'; DROP TABLE runs;--",
            "<img src=x>",
            "x" * 300,
            "\ud800",
        ]
    ),
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.integers(min_value=2**63, max_value=2**200),
        hostile,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
often = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _quote(text: str) -> str:
    from urllib.parse import quote

    return quote(text.encode("utf-8", "replace"), safe="")


def _text(value) -> bytes:
    return json.dumps(value).encode()


@given(value=values)
@often
def test_any_file_stream_body_is_answered_without_failing(tracker: Tracker, value) -> None:
    tracker.make_run("fuzz", "r")
    status, _ = tracker.post("fuzz", "r", _text(value))
    assert status < 500


@given(
    offset=values,
    content=values,
    name=st.sampled_from(
        ["wandb-history.jsonl", "wandb-events.jsonl", "output.log", "wandb-summary.json"]
    ),
)
@often
def test_any_lines_are_answered_without_failing(tracker: Tracker, offset, content, name) -> None:
    tracker.make_run("fuzz", "lines")
    body = {"files": {name: {"offset": offset, "content": content}}}
    assert tracker.post("fuzz", "lines", _text(body))[0] < 500


@given(rows=st.lists(st.dictionaries(hostile, values, max_size=4), min_size=1, max_size=5))
@often
def test_any_rows_are_stored_and_read_back_without_failing(tracker: Tracker, rows) -> None:
    name = f"rows{abs(hash(repr(rows)))}"
    tracker.make_run("fuzz", name)
    content = [json.dumps(row) for row in rows]
    assert (
        tracker.post(
            "fuzz",
            name,
            _text({"files": {"wandb-history.jsonl": {"offset": 0, "content": content}}}),
        )[0]
        == 200
    )
    answer = tracker.graphql(
        'query Q($r: String!) {project(name: "fuzz") {run(name: $r) {historyLineCount '
        'history historyKeys sampledHistory(specs: ["{}"])}}}',
        r=name,
    )
    run = answer["data"]["project"]["run"]
    assert run["historyLineCount"] == len(rows)
    assert len(run["history"]) == len(rows)


@given(names=st.tuples(hostile, hostile, hostile))
@often
def test_any_names_in_paths_are_answered_without_failing(tracker: Tracker, names) -> None:
    entity, project, run = map(_quote, names)
    for path in (
        f"/files/{entity}/{project}/{run}/file_stream",
        f"/{entity}/{project}/runs/{run}",
        f"/ui/{entity}/{project}",
        f"/api/run?entity={entity}&project={project}&run={run}",
        f"/download/{entity}/{project}",
        f"/upload/{run}",
        f"/artifacts/{entity}/{project}",
        f"/api/chart?entity=local&project=fuzz&key={entity}&low={project}&points={run}",
        f"/api/runs?entity=local&project=fuzz&filters={entity}&order={project}",
    ):
        method = (
            "POST" if path.startswith("/files") else "PUT" if path.startswith("/upload") else "GET"
        )
        status, _ = tracker.ask(path, b"{}" if method != "GET" else None, method=method)
        assert status < 500, path


@given(
    fields=st.dictionaries(
        st.sampled_from(
            [
                "name",
                "modelName",
                "entityName",
                "config",
                "tags",
                "summaryMetrics",
                "state",
                "id",
                "displayName",
                "notes",
            ]
        ),
        values,
        max_size=5,
    )
)
@often
def test_any_upsert_is_answered_without_failing(tracker: Tracker, fields) -> None:
    body = {
        "query": "mutation M($i: UpsertBucketInput!) {upsertBucket(input: $i) {bucket {id}}}",
        "variables": {"i": fields},
    }
    status, answer = tracker.ask("/graphql", _text(body))
    assert status < 500
    assert "internal error" not in json.dumps(answer)


@given(
    filters=st.dictionaries(
        st.sampled_from(["$and", "$or", "$not", "config.x", "state", "tags", "$regex", "name"]),
        values,
        max_size=3,
    )
)
@often
def test_any_filter_is_answered_without_failing(tracker: Tracker, filters) -> None:
    answer = tracker.graphql(
        'query Q($f: JSONString) {project(name: "fuzz") {runs(filters: $f, order: '
        '"+config.x") {edges {node {id}}}}}',
        f=json.dumps(filters),
    )
    assert "internal error" not in json.dumps(answer)


@given(
    document=st.text(alphabet=string.ascii_letters + '{}()$:!@ "', max_size=60), variables=values
)
@often
def test_any_document_is_answered_without_failing(tracker: Tracker, document, variables) -> None:
    status, _ = tracker.ask("/graphql", _text({"query": document, "variables": variables}))
    assert status < 500


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a/../../b", "", "a\0b", "a\\b", "a//b"])
def test_file_names_cannot_leave_the_run(tracker: Tracker, path: str) -> None:
    tracker.make_run("safety", "files")
    answer = tracker.graphql(
        'mutation M($f: [String!]!) {createRunFiles(input: {projectName: "safety", runName: '
        '"files", files: $f}) {files {uploadUrl}}}',
        f=[path],
    )
    assert "not allowed" in answer["errors"][0]["message"]


def test_a_zip_bomb_is_refused(tracker: Tracker) -> None:
    import zlib

    tracker.make_run("safety", "bomb")
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * 1_000_000) for _ in range(200)) + packer.flush()
    status, _ = tracker.ask(
        "/files/local/safety/bomb/file_stream", bomb, headers={"Content-Encoding": "gzip"}
    )
    assert status == 413


def test_gzip_bodies_are_read(tracker: Tracker) -> None:
    import gzip

    tracker.make_run("safety", "zipped")
    body = gzip.compress(json.dumps(lines(0, 3)).encode())
    status, _ = tracker.ask(
        "/files/local/safety/zipped/file_stream", body, headers={"Content-Encoding": "gzip"}
    )
    assert status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example"])
def test_a_rebound_host_name_is_refused(tracker: Tracker, host: str) -> None:
    assert tracker.ask("/api/projects", key=None, headers={"Host": host})[0] == 421


def test_a_request_from_another_site_is_refused(tracker: Tracker) -> None:
    body = {"entity": "local", "project": "p", "run": "r"}
    status, _ = tracker.ask(
        "/api/runs/trash", body, key=None, headers={"Origin": "http://evil.example"}
    )
    assert status == 403


def test_a_wrong_key_is_nobody_even_on_this_machine(tracker: Tracker) -> None:
    status, answer = tracker.ask("/graphql", {"query": "query V {viewer {username}}"}, key="0" * 40)
    assert (status, answer["data"]["viewer"]) == (200, None)
    assert tracker.ask("/graphql", {"query": '{project(name: "p") {id}}'}, key="0" * 40)[0] == 401


def test_a_forged_address_is_refused(tracker: Tracker) -> None:
    assert tracker.ask("/upload/abc.def", b"x", method="PUT", key=None)[0] == 403
    assert tracker.ask("/download/abc.def/x", key=None)[0] == 403


def test_answers_carry_a_strict_policy(tracker: Tracker) -> None:
    import urllib.request

    with urllib.request.urlopen(tracker.url + "/") as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.fixture(scope="module")
def two_users(tmp_path_factory: pytest.TempPathFactory):
    found = Tracker(tmp_path_factory.mktemp("two") / "store")
    status, ada = found.ask("/api/users", {"name": "ada"})
    assert status == 201
    yield found, ada["key"]
    found.stop()


def test_a_new_key_has_forty_hexadecimal_characters(two_users) -> None:
    assert len(two_users[1]) == 40
    assert set(two_users[1]) <= set("0123456789abcdef")


def test_users_see_only_their_own_entity(two_users) -> None:
    tracker, key = two_users
    opaque = tracker.make_run("mine", "r")
    assert (
        tracker.graphql('{project(name: "mine", entityName: "local") {id}}', key=key)["data"][
            "project"
        ]
        is None
    )
    assert tracker.ask("/files/local/mine/r/file_stream", lines(0, 1), key=key)[0] == 404
    assert tracker.ask("/api/run?entity=local&project=mine&run=r", key=key)[0] == 404
    answer = tracker.graphql(
        "mutation M($i: ID!) {deleteRun(input: {id: $i}) {success}}", key=key, i=opaque
    )
    assert "does not exist" in answer["errors"][0]["message"]
    assert tracker.ask("/api/projects", key=key)[1] == []


def test_only_administrators_manage_users(two_users) -> None:
    tracker, key = two_users
    assert tracker.ask("/api/users", key=key)[0] == 403
    assert tracker.ask("/api/users", {"name": "eve"}, key=key)[0] == 403


def test_with_several_users_a_key_is_needed(two_users) -> None:
    tracker, _ = two_users
    assert tracker.ask("/api/projects", key=None)[0] == 401


def test_it_runs_behind_a_proxy_under_a_path(tmp_path: Path) -> None:
    found = Tracker(tmp_path / "store", "--public-url", "http://localhost:1/track")
    try:
        base = f"http://127.0.0.1:{_port(found)}"
        for prefix in ("", "/track"):
            status, _ = found.ask(f"{base}{prefix}/api/session")
            assert status == 200
        status, text = found.ask(f"{base}/track/")
        assert re.search(rb'src="/track/ui/[0-9a-f]+/app\.js"', text)
    finally:
        found.stop()


def _port(tracker: Tracker) -> int:
    import psutil

    return next(
        c.laddr.port
        for c in psutil.Process(tracker.process.pid).net_connections()
        if c.status == "LISTEN"
    )
