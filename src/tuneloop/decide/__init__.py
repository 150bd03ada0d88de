"""Statistics, gates, the verdict and the registry."""
