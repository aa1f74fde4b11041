"""The published numbers, the paper's claims as data, and the verdict on each: results of a study -> verdicts."""
