"""Tables, figures and pages: results.parquet and the answers -> files to read."""
