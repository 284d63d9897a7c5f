"""The forms in which a trained model is written, each a module found by its name (``bench export --to NAME``).

A module says what its files end in (``SUFFIX``), whether it writes a folder (``FOLDER``) and which libraries it needs
(``NEEDS``); its ``write(export, path)`` writes the model to a draft and gives a ``bench.models.export.Written``, or
raises ``InputError``.
"""
