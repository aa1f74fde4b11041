"""Progress without a terminal: lines in a log, at most one in so many seconds, with what is left and values."""

import re
import sys
import time

import pytest

from sftlens.runtime import progress


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.2)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    text = capsys.readouterr().err
    assert "\r" not in text
    found = text.splitlines()
    assert all(progress.LINE.fullmatch(line) for line in found), found
    return found


def test_a_line_says_how_far_it_is_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar(description="fine-tune", total=100, unit="step") as bar:
        for i in range(30):
            time.sleep(0.02)
            bar.tell(1, loss=2 / (i + 1), lr=5e-5)
    found = lines(capsys)
    assert 1 <= len(found) <= 5
    assert re.fullmatch(r"fine-tune: \d+/100 step, .*step/s, \d\d:\d\d left, loss=0\.\d+, lr=5e-05", found[0])


def test_a_total_that_is_known_later(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar(description="repair", unit="prompt") as bar:
        bar.reset(total=40)
        for _ in range(20):
            time.sleep(0.02)
            bar.update(1)
    assert "/40 prompt" in lines(capsys)[-1]


def test_a_program_that_ends_at_once_leaves_its_log_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.bar(range(5), "pretrain", unit="step")) == [0, 1, 2, 3, 4]
    assert lines(capsys) == []


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.bar(description="fine-tune", total=2, unit="step") as bar:
        bar.tell(1, loss=1.0)
        bar.refresh()
    assert "\r" in capsys.readouterr().err


def test_a_bar_that_nobody_closed_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    left = progress.bar(description="changes", total=9, unit="element")
    left.update(1)
    with progress.bar(description="evaluate", total=30, unit="question") as bar:
        for _ in range(30):
            time.sleep(0.02)
            bar.update(1)
    assert lines(capsys)
    left.close()
