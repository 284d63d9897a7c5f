"""Means, tests, corrections and power on plain arrays; knows nothing of methods, tables or files.

A file is a question: ``samples`` (what is the mean?), ``difference`` (how far are two means apart, how well is that
known?), ``two`` (do two samples differ?), ``best`` (what is too near the best to be told from it?), ``family`` (which
of many comparisons hold?), ``across`` (over several datasets?), ``items`` (image by image?), ``reach`` (can the test
answer at all?), ``power`` (how many seeds would it take?), ``verdict`` (is a published number the same as ours?),
``pooling`` (what may a cell with few runs take from others?), ``agreement`` (do two columns rank alike?), ``chance``
(what makes a printed table look so by chance?).
"""
