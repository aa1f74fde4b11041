"""`sftlens training-set` from a clone that is not installed."""

from _clone import main

main("training_set")
