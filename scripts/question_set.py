"""`sftlens question-set` from a clone that is not installed."""

from _clone import main

main("question_set")
