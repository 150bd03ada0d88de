"""Signals become evidence: what each says, how far it is trusted, what it all adds up to."""
