"""What runs leave behind: records, the index of them, and the lease on a run in training."""
