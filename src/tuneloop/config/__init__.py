"""The run config: sections, schema, loading."""
