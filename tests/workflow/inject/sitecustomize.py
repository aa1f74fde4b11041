"""Tests only (PYTHONPATH): the fine-tuning of one cell dies at its start while the marked file exists."""

import os
import sys

words = getattr(sys, "orig_argv", [])
marked = os.environ.get("SFTLENS_TEST_FAILURE", "")
if marked and os.path.exists(marked) and any(w.endswith("finetune.py") for w in words):
    with open(marked, encoding="utf-8") as file:
        if file.read() in " ".join(words):
            print("error: injected by a test", file=sys.stderr, flush=True)
            os._exit(1)
