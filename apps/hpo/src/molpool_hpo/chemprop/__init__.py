"""Tuning of multi-task Chemprop models."""
