"""Pages over what a folder holds: a training run or a study."""
