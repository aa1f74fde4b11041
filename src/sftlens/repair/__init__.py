"""Repairing a model that somebody fine-tuned elsewhere: what it lost, and which restoration gives it back."""
