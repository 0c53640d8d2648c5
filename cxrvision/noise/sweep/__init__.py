"""Sweeps: how much AUC audited studies buy, at known errors of the labels."""
