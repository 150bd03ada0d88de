"""Set building: from curated rows to SFT, preference and KTO rows."""
