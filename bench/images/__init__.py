"""Files of images: opened, decoded, looked through. Nothing here imports torch."""
