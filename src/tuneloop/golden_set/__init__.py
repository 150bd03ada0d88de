"""The golden set as people keep it: adding, reviewing, retiring, comparing, coverage."""
