"""What became of the data and of the predictions."""
