"""What is on a heartbeat disk: codecs of the formats, one a file. Bytes to values and back, nothing else.

`render` gives one whole sector. `parse` gives a value, or a `Broken` that tells why there is none; no bytes make it
raise.
"""
