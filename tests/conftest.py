import os

from hypothesis import settings

# Shared machines make wall-clock deadlines flaky; CI draws the same examples every time.
settings.register_profile("cxr", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("cxr")
