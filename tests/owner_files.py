"""Owner files as other processes leave them, for tests."""

import json
import os
import time
from pathlib import Path


def owned(path: Path, text: str, age: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def by(host: str, pid: int) -> str:
    return json.dumps({"host": host, "pid": pid, "job": ""})
