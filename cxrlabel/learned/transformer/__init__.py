"""Labelers with a pretrained or a small encoder; the one place of cxrlabel that imports torch."""
