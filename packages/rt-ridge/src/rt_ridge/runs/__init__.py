"""Effects of runs that all their compounds share, crossed with pairs."""
