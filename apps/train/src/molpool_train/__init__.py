"""Train molpool models from a table: molpool-train chemprop."""
