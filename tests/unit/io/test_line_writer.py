"""Lines are written in order; a reader that does not read keeps nobody waiting."""

import os

from mpio.io.line_writer import LineWriter


def test_lines_come_in_order_and_are_there_when_it_is_closed() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer)
    for number in range(1000):
        lines.write(f"line {number} é")
    assert lines.close()
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as file:
        assert file.read() == "".join(f"line {number} é\n" for number in range(1000))


def test_a_reader_that_does_not_read_costs_lines_and_no_time() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer, lines_max=10)
    for _ in range(100):
        lines.write("x" * 65536)  # a pipe holds one of these
    assert lines.left_out >= 88
    assert not lines.close(0.01)
    os.close(reader)  # and the thread ends, for nobody can read any more
    lines._lines.put(None)
    lines._thread.join()
    os.close(writer)


def test_a_reader_that_is_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    lines = LineWriter(writer)
    lines.write("nobody reads this")
    assert not lines.close()
    assert lines.left_out == 1
    os.close(writer)
