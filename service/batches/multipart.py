"""Reading an uploaded file out of a form, as OpenAI's clients send it."""

from __future__ import annotations

import re
from email import message_from_bytes
from typing import Final, NamedTuple

from service.errors import ApiError, unreadable

MOST_PARTS: Final = 8
MOST_HEAD: Final = 4_096
MOST_NAME: Final = 255

_BOUNDARY = re.compile(
    r"""multipart/form-data\s*;.*?\bboundary=(?:"([ !#-~]{1,70})"|([!#-+\--:<-~]{1,70}))""", re.IGNORECASE
)


class Upload(NamedTuple):
    """A file that is to be kept."""

    filename: str
    content: bytes


def read_upload(content_type: str, body: bytes) -> Upload:
    """The field `file` of a form whose `purpose` is batch. Raises ApiError 400."""
    fields = _fields(content_type[:1_000], body)
    if "file" not in fields:
        raise _bad("file is missing. Send it as multipart/form-data, with purpose=batch.", "file")
    if fields.get("purpose", ("", b""))[1] != b"batch":
        raise _bad("purpose should be batch.", "purpose")
    other = next((name for name in fields if name not in ("file", "purpose")), None)
    if other is not None:
        message = f"{other[:80]} is not a parameter of Aliquot. Leave it out."
        raise unreadable(message, other[:80], "unknown_parameter")
    filename, content = fields["file"]
    shown = "".join(character for character in filename if character.isprintable())
    return Upload(shown[:MOST_NAME] or "file", content)


def _fields(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """Each field's filename and content, by its name."""
    found = _BOUNDARY.match(content_type.strip())
    if not found:
        raise _bad("The body should be multipart/form-data, with a boundary.")
    delimiter = b"\r\n--" + (found[1] or found[2]).encode()
    _, *parts = (b"\r\n" + body).split(delimiter, MOST_PARTS + 1)
    if not parts or len(parts) > MOST_PARTS or not parts[-1].startswith(b"--"):
        raise _bad(f"The form has no end, or more than {MOST_PARTS - 1} fields.")
    fields = {}
    for part in parts[:-1]:
        head, end, content = part.partition(b"\r\n\r\n")
        if not end or len(head) > MOST_HEAD:
            raise _bad("A field of the form has no header that can be read.")
        described = message_from_bytes(head.lstrip(b"\r\n"))
        name = described.get_param("name", header="content-disposition")
        try:
            filename = described.get_filename("")
        except ValueError as odd:  # in a character set that takes no such bytes, or is none
            raise _bad("A field of the form has a filename that cannot be read.", "file") from odd
        if not isinstance(name, str) or name in fields:
            raise _bad("A field of the form has no name, or one that another has too.")
        fields[name] = filename, content
    return fields


def _bad(message: str, param: str | None = None) -> ApiError:
    return unreadable(message, param, "invalid_value")
