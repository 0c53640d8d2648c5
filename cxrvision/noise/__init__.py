"""Label error: measured by an audit, carried into training and evaluation."""
