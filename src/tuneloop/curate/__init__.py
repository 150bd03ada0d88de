"""Curation: from the lake to rows that passed every gate."""
