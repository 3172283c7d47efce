"""What holds for all tests."""

from hypothesis import settings

# How long an example takes depends on the host, which is shared: times are never asserted.
settings.register_profile("tare", deadline=None)
settings.load_profile("tare")
