"""The command molpool-train: a table in, a trained model and its report out."""

__all__: list[str] = []
