"""`sftlens config-docs` from a clone that is not installed."""

from _clone import main

main("config_docs")
