"""Intervals and correlations (95 %, two-sided): values of questions and seeds -> estimates."""
