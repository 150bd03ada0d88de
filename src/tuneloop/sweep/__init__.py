"""Sweeps: trainings that differ in a few keys, compared on the validation part."""
