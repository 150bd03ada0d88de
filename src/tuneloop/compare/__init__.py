"""The gate's statistics for anyone's judgments: read, collapse, measure, conclude."""
