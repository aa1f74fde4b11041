"""`sftlens worlds` from a clone that is not installed."""

from _clone import main

main("worlds")
