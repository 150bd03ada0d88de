"""Traffic with known truth: what people ask, how it is answered, what they make of it."""
