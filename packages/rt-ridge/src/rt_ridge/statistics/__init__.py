"""What the rows of each pair say, in a few centred sums, and the ridge regression from them."""
