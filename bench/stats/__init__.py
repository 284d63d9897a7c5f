"""Means, tests, corrections and power on plain arrays; knows nothing of methods, tables or files.

A file is a question: ``samples`` (what is the mean?), ``two`` (do two samples differ?), ``family`` (which of many
comparisons hold?), ``across`` (over several datasets?), ``items`` (image by image?), ``reach`` (can the test answer at
all?), ``power`` (how many seeds would it take?), ``verdict`` (is a published number the same as ours?), ``pooling``
(what may a cell with few runs take from others?), ``agreement`` (do two columns rank alike?).
"""
