"""Champion and candidate on the golden set: answers, checks, metrics, the judge."""
