"""Graded metrics: `evaluate` modules that lie here, so that they work without a network."""
