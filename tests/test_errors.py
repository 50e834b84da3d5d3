import pytest

from genrender.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("  no such key\nin line 3"), "no such key"),
        (RuntimeError("\n \nno such layer"), "no such layer"),
        (KeyError(), "KeyError"),
        (OSError("\n"), "OSError"),
    ],
)
def test_the_first_line_of_an_error_is_what_it_says_or_its_kind(error, line):
    assert first_line(error) == line
