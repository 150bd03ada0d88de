"""What passes between stages, and where it is kept."""
