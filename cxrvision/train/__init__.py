"""Training on studies, run folders and prediction."""
