"""One file a format: what it is recognised by, its fields, and how a record becomes events."""
