"""The events of a training: whole lines, each step once, whatever lay in the file before."""

import json
from pathlib import Path

from sftlens.runtime.events import TIMES, Events, of

SUMMARY = {
    "losses": [2.0, 1.5, 1.25],
    "learning_rates": [1e-3, 5e-4, 0.0],
    "supervised_tokens": [9, 8, 7],
    "gradient_norms": [],
    "dev_losses": [[2, 1.75]],
}
EVENTS = [
    {"event": "step", "step": 1, "loss": 2.0, "learning_rate": 1e-3, "supervised_tokens": 9},
    {"event": "step", "step": 2, "loss": 1.5, "learning_rate": 5e-4, "supervised_tokens": 8},
    {"event": "dev", "step": 2, "loss": 1.75},
    {"event": "step", "step": 3, "loss": 1.25, "learning_rate": 0.0, "supervised_tokens": 7},
]


def told(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def without_times(events: list[dict]) -> list[dict]:
    return [{key: value for key, value in event.items() if key not in TIMES} for event in events]


def test_a_summary_says_them_in_the_order_of_the_steps() -> None:
    assert of(SUMMARY) == EVENTS
    assert of({**SUMMARY, "gradient_norms": [1.0, 2.0, 3.0]})[-1]["gradient_norm"] == 3.0


def test_each_is_a_line_with_its_time_as_soon_as_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "finetune.jsonl"
    with Events(path) as file:
        file.begin([])
        for number, event in enumerate(EVENTS):
            file.add(event)
            assert len(told(path)) == number + 1
    assert without_times(told(path)) == EVENTS
    assert all(
        event["time"] > 0 and ("steps_per_second" in event) == (event["event"] == "step") for event in told(path)
    )


def test_a_run_that_goes_on_keeps_what_it_goes_on_from_and_nothing_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "finetune.jsonl"
    with Events(path) as file:
        file.begin([])
        for event in EVENTS:
            file.add(event)
    before = told(path)
    with path.open("a") as torn:
        torn.write('{"event": "step", "st')
    with Events(path) as file:
        file.begin(EVENTS[:3])  # a state was saved after the second step
        assert told(path) == before[:3]
        file.add(EVENTS[3])
    assert without_times(told(path)) == EVENTS and told(path)[:3] == before[:3]
    inode = path.stat().st_ino
    with Events(path) as file:
        file.begin(EVENTS)
    assert path.stat().st_ino == inode, "a file that says it all is left alone"


def test_lines_of_another_run_and_a_lost_file_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "finetune.jsonl"
    path.write_text('{"event": "step", "step": 1, "loss": 9.0}\nno JSON\n')
    with Events(path) as file:
        file.begin(EVENTS[:2])
    assert told(path) == EVENTS[:2]
    path.unlink()
    with Events(path) as file:
        file.begin(EVENTS)
    assert told(path) == EVENTS


def test_without_a_file_nothing_is_written() -> None:
    with Events(None) as file:
        file.begin(EVENTS)
        file.add(EVENTS[0])
