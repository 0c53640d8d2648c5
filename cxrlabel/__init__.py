"""Chest X-ray reports to study labels: sections, sentences, mentions, assertions, labels.

Each module is one step of that flow. None imports torch, and importing the package loads nothing
else: a program that needs only the finding names does not pay for spaCy.
"""
