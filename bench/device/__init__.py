"""Processes and devices that share a run: parts of a batch, ranks, signals."""
