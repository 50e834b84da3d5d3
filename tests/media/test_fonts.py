"""Names are drawn with the letters that they have, or with the nearest that there are."""

import pytest

from genrender.media import fonts
from genrender.media.fonts import lettering


def test_english_is_drawn_alike_on_every_machine():
    text, font = lettering("Fox.001", 14)
    assert text == "Fox.001"
    assert font.getlength("Fox") > 0


@pytest.mark.parametrize(
    ("name", "plain"), [("Käfer", "Kafer"), ("Ščepan Ó", "Scepan O"), ("Жук", "???"), ("\U0010fffd", "?")]
)
def test_without_any_other_font_accents_are_left_out(monkeypatch, name, plain):
    monkeypatch.setattr(fonts, "_system_fonts", lambda _: ())
    assert lettering(name, 14)[0] == plain


def test_a_font_of_the_system_draws_the_accents():
    if not fonts._system_fonts(14):
        pytest.skip("this machine has none of the fonts that are looked for")
    text, font = lettering("Käfer", 14)
    assert text == "Käfer"
    assert font.getlength("ä") > 0
