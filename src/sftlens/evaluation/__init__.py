"""Closed-book answers, their accuracy, and KL from the base (paper sections 4, 5): model, facts -> rows, metrics."""
