"""The path by which earlier model files name the predictor of several heads."""

from chemprop_multitask._network import GroupedPredictor as GroupedPredictor
