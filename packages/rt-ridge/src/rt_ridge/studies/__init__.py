"""What the model is held against: baselines, evaluations, a simulated laboratory, covariate shift."""
