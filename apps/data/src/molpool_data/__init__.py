"""Public data sets by name with checksum and licence, and the synthetic demo."""
