"""An owner file is claimed by one, shows that its owner lives, and is taken over only from the dead."""

import json
import os
import socket
import subprocess
import time

import pytest

from owner_files import by, owned
from sftlens.runtime import lock

NOBODY = ("", '{"host": "else', '{"host":' + "[" * 100_000, '{"host": 5, "pid": "x"}', '{"pid": 99999999999999999999}')
"""Owner files that are torn, or of another shape."""


@pytest.mark.parametrize(
    "text",
    [by("elsewhere", 1), by(socket.gethostname(), os.getpid()), *NOBODY],
    ids=["elsewhere", "this process", *(f"torn {i}" for i in range(len(NOBODY)))],
)
@pytest.mark.parametrize("age", [0, 1e9, -1e9], ids=["now", "long ago by the clock", "in the future by the clock"])
def test_owner_is_left_alone_until_it_was_silent_for_long(tmp_path, monkeypatch, text, age):
    """Only what the watcher sees counts: neither the file's time nor this machine's clock."""
    path = owned(tmp_path / "state" / "owner", text, age)
    owner = lock.Owner(path)
    assert lock.claim(path, owner) is None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 0.9 * lock.STALE_SECONDS)
    assert lock.claim(path, owner) is None and path.read_text() == text
    # A sign of life, whatever time it is given by a clock that was set back.
    os.utime(path, (1, 1))
    assert lock.claim(path, owner) is None
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.8 * lock.STALE_SECONDS)
    assert lock.claim(path, owner) is None
    monkeypatch.setattr(time, "monotonic", lambda: now + 2.0 * lock.STALE_SECONDS)
    token = lock.claim(path, owner)
    assert token and json.loads(path.read_text())["token"] == token
    assert [found.name for found in path.parent.iterdir()] == ["owner"]


def test_a_dead_process_of_this_machine_is_not_waited_for(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    path = owned(tmp_path / "owner", by(socket.gethostname(), process.pid), age=-1e9)
    assert lock.claim(path)
    # The same number in another container is another process.
    theirs = json.loads(by(socket.gethostname(), process.pid)) | {"space": "pid:[1]"}
    assert lock.claim(owned(tmp_path / "theirs", json.dumps(theirs))) is None


@pytest.mark.parametrize("text", ["[]", "null", "[" * 100_000, "\0"])
def test_what_no_claim_can_have_written_is_not_waited_for(tmp_path, text):
    assert lock.claim(owned(tmp_path / "owner", text))


def test_who_is_waited_for_is_named(tmp_path):
    said = json.loads(by("elsewhere", 12)) | {"job": "77"}
    owner = lock.Owner(owned(tmp_path / "owner", json.dumps(said)))
    assert lock.claim(tmp_path / "owner", owner) is None
    assert owner.name == "process 12 on elsewhere, Slurm job 77" and owner.silent() < 60


def test_claim_is_given_to_one(tmp_path):
    path = tmp_path / "owner"
    token = lock.claim(path)
    assert token is not None
    assert lock.claim(path) is None
    with lock.kept(path, token):
        assert lock.holds(path, token)
    assert not path.exists() and not lock.holds(path, token)
    assert lock.claim(path) not in (None, token)


def test_owner_shows_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.02)
    path = tmp_path / "owner"
    token = lock.claim(path)
    assert token
    os.utime(path, (1, 1))
    with lock.kept(path, token):
        deadline = time.time() + 10
        while path.stat().st_mtime < 2 and time.time() < deadline:
            time.sleep(0.02)
        assert path.stat().st_mtime > 2


@pytest.mark.parametrize("theirs", [json.dumps({"host": "elsewhere", "pid": 1, "token": "other"}), '{"host": "el'])
def test_claim_of_who_took_over_is_left_alone(tmp_path, monkeypatch, theirs):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.02)
    path = tmp_path / "owner"
    token = lock.claim(path)
    assert token
    with lock.kept(path, token):
        path.unlink()
        owned(path, theirs, age=100)
        time.sleep(0.2)
        assert not lock.holds(path, token)
        assert path.stat().st_mtime < time.time() - 50
    assert path.read_text() == theirs


def test_new_claim_that_was_moved_by_mistake_is_put_back(tmp_path):
    path = owned(tmp_path / "owner", by("elsewhere", 1))
    slow = lock.Owner(path)
    assert not slow.stale()
    path.unlink()
    lock.claim(path)
    text = path.read_text()
    slow.retire()
    assert path.read_text() == text
    assert [found.name for found in tmp_path.iterdir()] == ["owner"]
