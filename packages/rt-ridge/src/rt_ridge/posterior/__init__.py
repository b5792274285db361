"""From the scales to the artefact: exact locations and coefficients, averaged over the scales."""
