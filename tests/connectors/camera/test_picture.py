"""A file's bytes become exactly its pixels, or a sentence; never anything else, whatever the bytes are."""

import io
import random
from contextlib import suppress

import pytest
from PIL import Image

from plantgate_connectors.camera.picture import Unreadable, unpack
from tests.connectors.camera.given import RED, bomb, noise, packed

LOSSLESS = ("PNG", "BMP", "TIFF")
FORMATS = (*LOSSLESS, "JPEG")


def pixels(data: bytes, *, grey: bool = False, pixels_max: int = 10_000) -> memoryview:
    return unpack(data, grey=grey, pixels_max=pixels_max)


@pytest.mark.parametrize("form", FORMATS)
def test_a_picture_is_rows_by_columns_by_colours(form: str) -> None:
    seen = pixels(packed(RED, (4, 3), form))

    assert (seen.shape, seen.format, seen.c_contiguous) == ((3, 4, 3), "B", True)
    assert all(abs(seen[2, 3, colour] - RED[colour]) <= (2 if form == "JPEG" else 0) for colour in range(3))


@pytest.mark.parametrize("form", FORMATS)
def test_grey_has_two_dimensions_and_the_brightness_that_others_reckon(form: str) -> None:
    data = noise(form)
    wanted = Image.open(io.BytesIO(data)).convert("L").tobytes()

    seen = pixels(data, grey=True)

    assert seen.shape == (21, 33)
    assert max(abs(one - other) for one, other in zip(seen.tobytes(), wanted, strict=True)) <= 1


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [("L", 90, (90, 90, 90)), ("1", 1, (255, 255, 255)), ("RGBA", (9, 8, 7, 0), (9, 8, 7)), ("P", 0, (0, 0, 0))],
)
def test_eight_bits_of_every_kind_are_red_green_blue(mode: str, colour: int, seen: tuple[int, int, int]) -> None:
    given = pixels(packed(colour, (2, 2), "PNG", mode))
    assert tuple(given[1, 1, each] for each in range(3)) == seen


@pytest.mark.parametrize(("mode", "form"), [("I;16", "PNG"), ("I;16", "TIFF"), ("F", "TIFF"), ("I", "TIFF")])
def test_more_than_eight_bits_are_refused_not_cut(mode: str, form: str) -> None:
    with pytest.raises(Unreadable, match="not 8 bits a colour"):
        pixels(packed(300, (2, 2), form, mode))


def test_a_bomb_is_refused_by_its_head() -> None:
    assert len(bomb(20_000, 4_000)) < 20_000
    with pytest.raises(Unreadable, match=r"20000 x 4000 pixels, more than 10000 \(pixels_max\)"):
        pixels(bomb(20_000, 4_000))


@pytest.mark.parametrize("rows", [9_000, 40_000])
def test_what_pillow_itself_calls_a_bomb_is_refused_in_the_same_words(rows: int) -> None:
    """Pillow warns of the smaller and refuses the larger."""
    with pytest.raises(Unreadable, match="pixels_max"):
        pixels(bomb(10_000, rows), pixels_max=89_478_485)


def test_only_four_formats_are_looked_at() -> None:
    for form in ("GIF", "WEBP", "PPM", "ICO", "PCX", "EPS"):
        with pytest.raises(Unreadable, match="none of PNG, JPEG, BMP, TIFF"):
            pixels(packed(RED, (16, 16), form))


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"<html>", b"\0" * 999])
def test_what_is_no_picture_is_named(data: bytes) -> None:
    with pytest.raises(Unreadable):
        pixels(data)


@pytest.mark.parametrize("form", FORMATS)
def test_half_a_file_is_never_a_picture_with_other_pixels(form: str) -> None:
    whole = noise(form)
    wanted = pixels(whole).tobytes()
    refused = 0
    for length in range(len(whole)):
        try:
            assert pixels(whole[:length]).tobytes() == wanted, f"{length} of {len(whole)} bytes"
        except Unreadable:
            refused += 1
    assert refused >= len(whole) - 200, "all but what follows the pixels"


def test_no_flipped_bit_of_a_png_goes_unnoticed() -> None:
    whole = noise("PNG", (9, 7))
    wanted = pixels(whole).tobytes()
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        with suppress(Unreadable):
            assert pixels(bytes(flipped)).tobytes() == wanted, f"bit {bit}"


@pytest.mark.parametrize("form", FORMATS)
def test_whatever_the_bytes_are_they_are_a_picture_or_a_sentence(form: str) -> None:
    chance, whole = random.Random(f"picture {form}"), noise(form)
    said = []
    for _ in range(1500):
        torn = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            torn[chance.randrange(len(torn))] = chance.randrange(256)
        try:
            seen = pixels(bytes(torn))
        except Unreadable as error:
            said.append(str(error))
        else:
            assert seen.ndim == 3
    assert said
    assert all(each.isprintable() for each in said)
