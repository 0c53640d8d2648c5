"""The image half of the demo: phantoms, two models trained on their reports' labels, and one page.

Phantoms are invented. The numbers show that the chain works, and say nothing about patients.
"""
