"""The lake: native events in a versioned, append-only Delta table."""
