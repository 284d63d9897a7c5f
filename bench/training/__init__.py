"""One run: from its spec, through its stages, to what its record keeps."""
