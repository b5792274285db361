"""From a matrix of affinities to groups of tasks."""
