"""Tuning of attention over the conformers of molecules, or over any other bags."""
