"""chemprop."""
