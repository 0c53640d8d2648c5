"""The label audit: a designed sample, its review by people, and a table of label error."""
