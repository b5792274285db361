"""The artefact: coefficients, the levels that unseen pairs back off to, intervals, its file."""
