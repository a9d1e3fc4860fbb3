"""What all tests start from."""

import signal

# What a shell starts in the background ignores SIGINT, and so would the commands that tests interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)
