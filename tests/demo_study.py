"""The shipped demo study, and the same with some keys changed, for tests."""

import copy
from pathlib import Path

import yaml

from sftlens.config import loading

ROOT = Path(__file__).resolve().parent.parent
DEMO = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))


def changed(values: dict, **changes: object) -> dict:
    """Return a configuration with some keys changed; `__` stands for the dot."""
    values = copy.deepcopy(values)
    for name, value in changes.items():
        *place, last = name.split("__")
        inner = values
        for part in place:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return values


def demo(**changes: object):
    return loading.load(changed(DEMO, **changes))
