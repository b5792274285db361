"""The network: embedders, pool over instances, mixer and heads."""
