"""Sheets: tables as they are shown, and the only writers of every format."""
