"""Tasks, one file each, found by their names (``bench.task``)."""
