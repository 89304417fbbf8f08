"""A file's bytes become pixels, or a sentence that says why not."""

import io
from typing import Final

from PIL import Image, UnidentifiedImageError

FORMATS: Final = ("PNG", "JPEG", "BMP", "TIFF")
_EIGHT_BITS: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_SAID_MAX: Final = 120


class Unreadable(Exception):
    """No picture, or none that is wanted; the message is a sentence without the picture's name."""


def unpack(packed: bytes, *, grey: bool, pixels_max: int) -> memoryview:
    """Pixels as `plantgate.sdk.Frame` has them: rows x columns, or rows x columns x 3. Raises `Unreadable`.

    Its size is judged by its head, before anything is unpacked. Transparency is dropped, 16 bits a pixel are refused
    rather than cut, and a turn that the file only speaks of (EXIF) is not made.
    """
    try:
        with _opened(packed, pixels_max) as picture:
            picture.verify()  # to a PNG's very end: loading stops at the last pixel, before the checksums behind it
        with _opened(packed, pixels_max) as picture:
            if picture.mode not in _EIGHT_BITS:
                raise Unreadable(f"its pixels are {picture.mode}, not 8 bits a colour; have the camera give those")
            mode = "L" if grey else "RGB"
            (columns, rows), flat = picture.size, picture.convert(mode).tobytes()
    except Unreadable:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unreadable(f"it has more than {pixels_max} pixels (pixels_max)") from None
    except Exception as error:  # bytes of others can make Pillow raise whatever its decoders stumble over
        said = str(error).partition("\n")[0] if str(error).isprintable() else ""
        raise Unreadable(f"it is broken: {said[:_SAID_MAX] or type(error).__name__}") from error
    shape = (rows, columns) if grey else (rows, columns, 3)
    return memoryview(flat).cast("B", shape)


def _opened(packed: bytes, pixels_max: int) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(packed), formats=FORMATS)
    except UnidentifiedImageError:
        raise Unreadable(f"it is none of {', '.join(FORMATS)}, or its head is broken") from None
    columns, rows = picture.size
    if columns * rows > pixels_max:
        raise Unreadable(f"it has {columns} x {rows} pixels, more than {pixels_max} (pixels_max)")
    return picture
