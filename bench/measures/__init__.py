"""Measures of trained models, one file each, found by its name: ``bench.measure`` says what one is."""
