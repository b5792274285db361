"""Baselines, evaluation by support, a simulated laboratory and the covariate-shift study."""
