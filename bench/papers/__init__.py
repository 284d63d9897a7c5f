"""What papers published: their tables as printed, held against themselves, their own words, and our runs."""
