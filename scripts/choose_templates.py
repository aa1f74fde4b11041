"""`sftlens choose-templates` from a clone that is not installed."""

from _clone import main

main("choose_templates")
