"""Studies of attention over bags."""
