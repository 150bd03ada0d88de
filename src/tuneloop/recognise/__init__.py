"""What a text contains: personal data, secrets, refusals, insults, orders, its language."""
