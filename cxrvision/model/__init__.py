"""Encoders, fusion of views and the model of a study."""
