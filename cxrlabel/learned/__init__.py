"""Labelers that learn from reviewed reports, beside the rules or on top of them."""
