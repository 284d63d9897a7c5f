"""A page in which people look at their results: what it holds, how it is gathered, and the file that it becomes."""
