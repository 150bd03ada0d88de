"""Personal data: find it, replace it consistently, report it."""
