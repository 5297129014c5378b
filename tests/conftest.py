"""What holds for all tests."""

import signal


def pytest_configure():
    """Hear interrupts, in programs that tests start too: shells ignore them in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
