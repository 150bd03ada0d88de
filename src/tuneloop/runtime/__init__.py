"""What stages share at run time: execution, environment, progress, weights, serving."""
