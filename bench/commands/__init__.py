"""The commands of the command line; a module adds its own with ``add``."""
