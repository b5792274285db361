"""Heavy-tailed errors: rows read again and weighted until their weights stand."""
