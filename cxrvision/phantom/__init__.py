"""Phantoms: invented chest radiographs, frontal and lateral, for tests, demos and benchmarks.

One arrangement of ellipsoids in space is projected to both views, so that a finding looks in each
as its place demands. They exist to find out whether code works. Nothing that is measured on them
is evidence about patients, radiographs or radiologists.
"""

from cxrvision.phantom.files import write_phantoms
from cxrvision.phantom.findings import DRAWN
from cxrvision.phantom.studies import Phantom, make_phantom

__all__ = ["DRAWN", "Phantom", "make_phantom", "write_phantoms"]
