"""Statistics of comparisons: numbers in, numbers out; what rooms share and none of them owns."""
