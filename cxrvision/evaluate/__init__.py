"""Predictions against labels: measures, intervals, comparisons."""
