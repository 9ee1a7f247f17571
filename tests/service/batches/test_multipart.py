"""A file in a form is read as it was sent, and what is no such form is refused."""

from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batches.multipart import read_upload
from service.errors import ApiError


def form(files, data=None) -> tuple[str, bytes]:
    """What a client sends: the content type and the body."""
    request = httpx.Request("POST", "http://h", files=files, data=data or {"purpose": "batch"})
    return request.headers["content-type"], request.read()


@given(st.binary(max_size=300) | st.lists(st.sampled_from([b"\r\n", b"--", b"x", b"\r\n\r\n"])).map(b"".join))
def test_a_file_comes_out_as_it_went_in(content):
    upload = read_upload(*form({"file": ("requests.jsonl", content)}))
    assert upload == ("requests.jsonl", content)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("größe.jsonl", None),
        ("../../etc/passwd", "../../etc/passwd"),
        ("x" * 400, "x" * 255),
        ("a\x00b\x1b", None),
    ],
)
def test_a_filename_is_a_short_text(name, kept):
    filename = read_upload(*form({"file": (name, b"1")})).filename
    assert filename == (kept or filename)
    assert 0 < len(filename) <= 255
    assert filename.isprintable()


BOUNDED = "multipart/form-data; boundary=b"
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
PURPOSE = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'


def test_the_plainest_form_is_taken():
    assert read_upload(BOUNDED, PURPOSE + HEAD + b"1\r\n--b--\r\n") == ("f", b"1")
    assert read_upload(
        'multipart/form-data; charset=utf-8; boundary="b"', PURPOSE + HEAD + b"1\r\n--b--"
    ).content


@pytest.mark.parametrize(
    ("content_type", "body", "param"),
    [
        ("", b"", None),
        ("application/json", b"{}", None),
        ("multipart/form-data", HEAD, None),
        ("multipart/form-data; boundary=", HEAD, None),
        (BOUNDED, b"", None),
        (BOUNDED, HEAD + b"1", None),
        (BOUNDED, b"--b\r\n\r\n--b--", None),
        (BOUNDED, b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--", None),
        (BOUNDED, b"--b\r\n" + b"X: y\r\n" * 2_000 + b"\r\n1\r\n--b--", None),
        (BOUNDED, HEAD + b"1\r\n" + HEAD + b"2\r\n--b--", None),
        (BOUNDED, b"--b\r\n\r\n1\r\n" * 1_000 + b"--b--", None),
        (BOUNDED, PURPOSE + b"--b--", "file"),
        (BOUNDED, HEAD + b"1\r\n--b--", "purpose"),
        (BOUNDED, HEAD + b"1\r\n" + PURPOSE.replace(b"batch", b"vision") + b"--b--", "purpose"),
        (BOUNDED, HEAD + b"1\r\n" + PURPOSE + PURPOSE.replace(b'"purpose"', b'"more"') + b"--b--", "more"),
    ],
)
def test_what_is_no_such_form_is_refused(content_type, body, param):
    with pytest.raises(ApiError) as refused:
        read_upload(content_type, body)
    assert (refused.value.status, refused.value.param) == (400, param)


@given(st.text(max_size=100), st.binary(max_size=300))
def test_whatever_is_sent_is_read_or_refused(content_type, body):
    for kind in (content_type, BOUNDED, BOUNDED + content_type):
        for sent in (body, b"--b\r\n" + body + b"\r\n--b--", HEAD + body + b"\r\n" + PURPOSE + b"--b--"):
            with suppress(ApiError):
                read_upload(kind, sent)
