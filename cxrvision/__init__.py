"""Image side of cxr. So far it holds the finding names, which it shares with the labeler.

Nothing in here may import spaCy: a machine without it can use this package.
"""

from cxrlabel import findings

__all__ = ["findings"]
