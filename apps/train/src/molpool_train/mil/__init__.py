"""`molpool-train mil`: attention over the conformers of molecules, or any other bags."""
