"""Where models come from that are no folder on this machine: the hub, and GGUF files."""
