"""The programs of sftlens: arguments -> library -> files; `scripts/` and `sftlens STAGE` both call them."""
