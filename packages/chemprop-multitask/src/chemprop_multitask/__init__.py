"""Masked multi-task Chemprop models with samplers and curricula handed in."""
