"""Task-aware, curriculum and joint samplers for sparse multi-task data, exact at any number of rows."""
