"""Supervised fine-tuning and preference optimisation of adapters, resumable to the bit."""
