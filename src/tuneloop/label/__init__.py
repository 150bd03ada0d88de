"""People's labels: which pairs to ask about, asking, and what was said."""
