"""A model that cannot be had from the hub, by a real hub client: what to do about it, and no word of the token."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub.utils import filter_repo_objects

from repository import ROOT
from script_calls import process
from sftlens.files import read_json, sha256
from sftlens.models.sources.hub import LEFT, PATTERNS
from sftlens.restoration import cards
from tiny import tiny_model
from workflow.study import CONFIG, configure, copy_repository, snakemake

SOURCE = ROOT / "src"
REVISION = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_NobodyMaySeeThisTokenAnywhere"
GEOMETRY = {"layers": 2, "hidden_size": 32, "intermediate_size": 48, "heads": 4, "kv_heads": 2, "vocab_size": 400}
ANSWERS = {
    "gated/model": (403, "GatedRepo"),
    "unauthorised/model": (401, ""),
    "forbidden/model": (403, ""),
    "gone/model": (404, "RepoNotFound"),
    "other/revision": (404, "RevisionNotFound"),
    "busy/hub": (500, ""),
}
"""How the hub of these tests answers to a model id: status, and the header by which the real one says why."""
FETCH = f"""
import sys
from sftlens.models.sources import hub
from sftlens.errors import ModelError
for path in sys.argv[1:]:
    try:
        hub.fetch(path, "{REVISION}", "llama")
    except ModelError as error:
        print(path, error)
"""


class Hub(BaseHTTPRequestHandler):
    """Refuses everything, each model in its own way."""

    seen: list[str] = []

    def do_GET(self) -> None:
        status, reason = next(answer for name, answer in ANSWERS.items() if name in self.path)
        self.seen.append(self.headers.get("authorization", ""))
        self.send_response(status)
        if reason:
            self.send_header("X-Error-Code", reason)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


class Serving(BaseHTTPRequestHandler):
    """Has one model, org/tiny, whose branch `main` is at REVISION."""

    folder: Path

    def do_GET(self) -> None:
        paths = sorted(self.folder.iterdir())
        if self.path.startswith("/api/models/org/tiny/tree/"):
            listed = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": sha256(p)} for p in paths]
            body = json.dumps(listed).encode()
        elif self.path.startswith("/api/models/org/tiny/"):
            names = [{"rfilename": path.name} for path in paths]
            body = json.dumps({"id": "org/tiny", "sha": REVISION, "siblings": names}).encode()
        else:
            body = (self.folder / self.path.rsplit("/", 1)[1]).read_bytes()
        self.send_response(200)
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


def test_a_hub_id_stands_wherever_a_model_does(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model(tmp_path / "source")
    (tmp_path / "source" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny")
    Serving.folder = tmp_path / "source"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Serving)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_HOME", variables["HF_HOME"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")

    def compare(model: str) -> subprocess.CompletedProcess[str]:
        return process("compare_changes.py", "source", model, "--out", "out.csv", cwd=tmp_path)

    done = compare("org/tiny")
    server.shutdown()
    assert done.returncode == 0, done.stderr
    assert f"org/tiny: commit {REVISION} of the hub's org/tiny" in done.stderr
    # Its licence is known, and its card is no file of the model.
    fetched = Path(variables["HF_HOME"], "hub", "models--org--tiny", "snapshots", REVISION)
    assert cards.licence_of(fetched) == {"license": "apache-2.0"} and not (fetched / "README.md").exists()
    # What was fetched at that commit is there also where the hub is not; a folder of that name goes before.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = compare(f"org/tiny@{REVISION}")
    assert again.returncode == 0, again.stderr
    missing = compare("org/other")
    assert missing.returncode == 1 and missing.stderr.startswith("error: org/other: there is no such folder, and the")
    assert "`hf download org/other --local-dir DIR`" in missing.stderr and missing.stderr.count("\n") == 1
    (tmp_path / "org").mkdir()
    shutil.copytree(tmp_path / "source", tmp_path / "org/tiny")
    local = compare("org/tiny")
    assert local.returncode == 0 and "commit" not in local.stderr


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": TOKEN, "PYTHONPATH": str(SOURCE)}


def refusals(variables: dict[str, str], *paths: str) -> dict[str, str]:
    """Return what is said of each model id; nothing else may be said."""
    command = [sys.executable, "-c", FETCH, *paths]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths), done.stdout
    return dict(line.split(" ", 1) for line in lines)


def test_a_refused_model_is_named_with_what_helps(hub: str, variables: dict[str, str]) -> None:
    found = refusals({**variables, "HF_ENDPOINT": hub}, *ANSWERS, "no-model-id/a/b")
    assert f"Bearer {TOKEN}" in Hub.seen  # it was sent, so it could have been printed
    assert all(f"models.llama: {path} at {REVISION} cannot be fetched" in said for path, said in found.items())
    for path in ("gated/model", "unauthorised/model", "forbidden/model"):
        assert "accept its licence on the hub and log in" in found[path] and "`source: path`" in found[path]
    assert "correct `path`" in found["gone/model"] and "correct `path`" in found["no-model-id/a/b"]
    assert "correct `revision`" in found["other/revision"]
    assert "try again" in found["busy/hub"]


def test_without_a_connection_the_way_out_is_a_local_folder(variables: dict[str, str]) -> None:
    offline = refusals({**variables, "HF_HUB_OFFLINE": "1"}, "gated/model")["gated/model"]
    assert "unset HF_HUB_OFFLINE, or fetch the model where that works and name its folder" in offline
    dead = refusals({**variables, "HF_ENDPOINT": "http://127.0.0.1:9"}, "gated/model")["gated/model"]
    assert "the hub cannot be reached or is busy: try again" in dead


def test_what_is_no_token_is_called_so(hub: str, variables: dict[str, str]) -> None:
    said = refusals({**variables, "HF_ENDPOINT": hub, "HF_TOKEN": TOKEN + "é"}, "gated/model")["gated/model"]
    assert "HF_TOKEN, or the token that is stored, is none" in said


def test_by_hand_and_in_a_study_nothing_is_left_and_no_token_is_seen(
    hub: str, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HOME", "HF_TOKEN"):
        monkeypatch.setenv(name, variables[name])
    monkeypatch.setenv("HF_ENDPOINT", hub)
    pointer = ["--source", "hub", "--path", "gated/model", "--revision", REVISION, "--geometry", json.dumps(GEOMETRY)]
    done = process("base.py", *pointer, "--name", "llama", "--out", tmp_path / "base", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: models.llama: gated/model"), done.stderr
    assert len(done.stderr.splitlines()) == 1 and not list((tmp_path / "base").rglob("*"))

    folder = copy_repository(tmp_path / "repository")
    model = {"source": "hub", "path": "gated/model", "revision": REVISION, "geometry": GEOMETRY}
    configure(folder, {**CONFIG, "models": {"llama": model}})
    run = snakemake(folder, "--until", "base", check=False)
    said = run.stdout + run.stderr
    assert run.returncode == 1 and "error: models.llama: gated/model" in said
    assert not list((folder / "results").rglob("base.json"))
    written = [path for path in (*folder.rglob("*"), *(folder / ".snakemake").rglob("*")) if path.is_file()]
    assert TOKEN not in said and not [path for path in written if TOKEN.encode() in path.read_bytes()]


def test_only_what_is_needed_is_fetched_and_the_chat_template_is() -> None:
    needed = ["chat_template.jinja", "config.json", "model-00001-of-00002.safetensors", "tokenizer.json"]
    other = ["pytorch_model.bin", "modeling_own.py", "consolidated.safetensors", "original/params.json", "a/b.jinja"]
    kept = filter_repo_objects([*needed, *other], allow_patterns=PATTERNS, ignore_patterns=LEFT)
    assert list(kept) == needed


def test_a_branch_is_resolved_printed_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cached = tmp_path / "hf/hub/models--org--name"
    tiny_model(cached / "snapshots" / REVISION)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(REVISION)
    options = ["--source", "hub", "--path", "org/name", "--revision", "main", "--name", "mine"]
    done = process("base.py", *options, "--out", tmp_path / "base", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"models.mine: org/name at main is commit {REVISION}; set `revision: {REVISION}`" in done.stderr
    assert read_json(tmp_path / "base/base.json")["revision"] == REVISION
