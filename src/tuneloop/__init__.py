"""tuneloop: feedback to a better model, and the proof that it is better."""

__version__ = "0.1.0"
