"""An owner file is claimed by one, shows that its owner lives, and is taken over only from the dead."""

import json
import os
import socket
import time

import pytest

from owner_files import by, owned
from sftlens.runtime import lock


@pytest.mark.parametrize(
    ("text", "age", "free"),
    [
        (by("elsewhere", 1), 0, False),
        (by("elsewhere", 1), 10 * lock.STALE_SECONDS, True),
        (by(socket.gethostname(), os.getpid()), 0, False),
        ('{"host": "else', 0, False),
        ('{"host": "else', 10 * lock.STALE_SECONDS, True),
        ("", 0, False),
        ("", 10 * lock.STALE_SECONDS, True),
    ],
    ids=["elsewhere", "elsewhere, silent", "here", "torn", "torn, silent", "empty", "empty, silent"],
)
def test_owner_is_left_alone_while_it_may_live(tmp_path, text, age, free):
    path = owned(tmp_path / "state" / "owner", text, age)
    token = lock.claim(path)
    assert (token is not None) is free
    owner = path.read_text()
    assert (json.loads(owner)["pid"] == os.getpid()) if free else (owner == text)
    assert (json.loads(owner)["token"] == token) if free else (owner == text)
    assert [found.name for found in path.parent.iterdir()] == ["owner"]


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
    path = tmp_path / "owner"
    lock.claim(path)
    text = path.read_text()
    lock._retire(path)
    assert path.read_text() == text
    assert [found.name for found in tmp_path.iterdir()] == ["owner"]
