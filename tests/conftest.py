"""What all tests start from."""

import signal

from hypothesis import settings

# What a shell starts in the background ignores SIGINT, and so would the commands that tests interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)

# Law tests say how much they try, not how fast: on a busy machine their deadlines would fail for nothing
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
