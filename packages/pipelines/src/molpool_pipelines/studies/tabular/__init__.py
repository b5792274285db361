"""Studies of models on features."""
