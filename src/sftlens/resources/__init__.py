"""What jobs need of a machine: geometry and settings -> memory, minutes, GPUs."""
