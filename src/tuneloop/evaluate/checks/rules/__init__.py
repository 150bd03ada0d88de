"""One kind of check a file."""
