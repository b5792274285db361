"""The command `molpool-data describe`: what is in a table, before anything is trained on it."""
