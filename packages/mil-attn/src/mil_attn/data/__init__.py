"""From SMILES or tables of features to bags: conformers, descriptors, cache and scaling."""
