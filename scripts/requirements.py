"""`sftlens requirements` from a clone that is not installed."""

from _clone import main

main("requirements")
