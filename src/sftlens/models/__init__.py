"""Models on disk: opening, checking, identifying and writing checkpoints, tensor by tensor."""
