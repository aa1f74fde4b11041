"""What a study costs before anything runs: cells -> jobs -> device hours, bytes and disk."""
