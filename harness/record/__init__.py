"""What a run leaves on disk: the journal, which alone is the truth, and the CSV, Parquet and manifest made of it."""
