"""Scores of one model: metrics with intervals, uncertainty, classes, strata."""
