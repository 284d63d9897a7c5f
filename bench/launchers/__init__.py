"""Where runs are trained: a file a launcher, found by its name; what it needs is imported when runs are launched."""
