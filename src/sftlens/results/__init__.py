"""What a study's cells left behind, as one tidy table: summaries and answers -> results.parquet."""
