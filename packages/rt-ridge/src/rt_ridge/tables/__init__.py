"""From what a laboratory has in tables to checked rows, ids that nest, and covariates."""
