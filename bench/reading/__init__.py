"""How what people write is read: YAML and TOML files, their keys, lists and settings as typed, files of Python."""
