"""Models on the same rows: a bootstrap over one test set, or tests over folds."""
