"""Figures and tables by theme: a file holds numbers, drawing and words of what belongs together, and registers it.

They can be imported without pandas and matplotlib: the workflow reads from them which targets there are.
"""
