"""What rides along with training: epoch records, dropout's seed, early stopping, checkpoints."""
