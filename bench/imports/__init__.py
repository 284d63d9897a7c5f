"""Somebody's own numbers as they are kept: rows of a file, what each column is, and the values of every cell.

``rows`` reads a file, ``columns`` says what its columns are, ``directions`` whether more or less of a metric is better,
``numbers`` what a text means, and ``results`` puts the values of each cell together.
"""
