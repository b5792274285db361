"""Training: the Lightning module, folds, scores and the search space."""
