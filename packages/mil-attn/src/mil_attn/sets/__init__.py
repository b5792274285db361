"""Bags as sets: their statistics, kernels between them, and models on these."""
