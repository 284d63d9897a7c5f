"""Figures of tables and runs, for a column or a page of a paper; matplotlib is imported when something is drawn.

A kind of figure is a file of ``bench.figures.kinds``, found by its name: its first line says what it shows, and its
function ``sketches(scene)`` gives what is to be drawn, or raises ``ValueError`` where there is nothing to draw.
"""
