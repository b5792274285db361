"""The profile of a table that `molpool-data describe` writes."""
