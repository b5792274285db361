"""What training minimises: focal loss of classes, weighted regression, weights of the tasks."""
