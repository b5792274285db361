"""The partially pooled model: its effects, and the exact Gaussian given the scales."""
