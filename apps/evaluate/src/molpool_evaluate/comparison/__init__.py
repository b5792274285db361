"""Models against one another: on one test set, or on repeated folds."""
