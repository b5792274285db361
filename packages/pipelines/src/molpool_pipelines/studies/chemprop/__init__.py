"""Studies of Chemprop models."""
