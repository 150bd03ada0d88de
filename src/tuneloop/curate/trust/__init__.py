"""Whose feedback is not believed: floods, brigades, crews, and votes that contradict."""
