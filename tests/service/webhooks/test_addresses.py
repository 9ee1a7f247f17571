"""Which addresses a webhook may name, and which addresses a listed name may stand for."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.errors import ApiError
from service.webhook_settings import WebhooksConfig
from service.webhooks.addresses import check_webhook, may_call

PRIVATE = ["10.1.2.3", "172.31.0.1", "192.168.1.1", "127.0.0.1", "127.9.9.9", "100.64.0.1", "::1", "fd12::1"]
DISGUISED = ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"]
NEVER = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "2001:db8::1",
    "2001::1",
]


@pytest.mark.parametrize("address", PRIVATE + DISGUISED)
def test_private_addresses_are_called_where_the_operator_says_so(address):
    assert not may_call(address, private=False)
    assert may_call(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_called_by_name(address):
    assert not may_call(address, private=False)
    assert not may_call(address, private=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_called(address):
    assert may_call(address, private=False)


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_in_every_disguise(ip: IPv4Address):
    disguises = (0xFFFF << 32, 0x64FF9B << 96, 0x2002 << 112)
    shifts = (0, 0, 80)
    for prefix, shift in zip(disguises, shifts, strict=True):
        other = IPv6Address(prefix | int(ip) << shift)
        for private in (False, True):
            assert may_call(str(other), private=private) == may_call(str(ip), private=private)


CONFIG = WebhooksConfig(hosts=["Hooks.example", "other.example:8443", "http://plain.example"])


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/done",
        "https://HOOKS.example:443/a?b=c%20d",
        "https://other.example:8443",
        "http://plain.example/",
    ],
)
def test_a_listed_host_may_be_named(url):
    assert check_webhook(CONFIG, url).scheme in ("http", "https")


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://hooks.example.evil.example/",
        "https://sub.hooks.example/",
        "https://hooks.example./",
        "http://hooks.example/",
        "https://plain.example/",
        "https://hooks.example:444/",
        "https://other.example/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
    ],
)
def test_another_host_scheme_or_port_is_refused_without_naming_what_is_listed(url):
    with pytest.raises(ApiError) as refused:
        check_webhook(CONFIG, url)
    assert (refused.value.status, refused.value.code) == (422, "webhook_not_allowed")
    assert "example" not in refused.value.message


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example",
        "//hooks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "gopher://hooks.example/",
        "https://",
        "https://user@hooks.example/",
        "https://user:secret@hooks.example/",
        "https://evil.example\\@hooks.example/",
        "https://hooks.example/#part",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nHost: evil.example",
        "https://hooks.example:0x50/",
        "https://hooks.example:99999/",
        "https://ho\u00f6ks.example/",
        "https://hooks.example/" + "x" * 2_000,
    ],
)
def test_what_is_no_plain_address_is_refused(url):
    with pytest.raises(ApiError) as refused:
        check_webhook(CONFIG, url)
    assert (refused.value.status, refused.value.code) == (400, "invalid_webhook")


@given(st.text(max_size=60))
def test_whatever_is_given_is_an_address_on_the_list_or_refused(text):
    for url in (text, f"https://{text}", f"https://hooks.example{text}"):
        try:
            found = check_webhook(CONFIG, url)
        except ApiError:
            continue
        assert (found.scheme, found.raw_host.lower(), found.port) in {
            ("https", "hooks.example", 443),
            ("https", "other.example", 8443),
            ("http", "plain.example", 80),
        }


@pytest.mark.parametrize(
    "host", ["", "*", "*.example", "a b", "https://a/", "a:0", "a:70000", "ftp://a", "u@a"]
)
def test_a_host_that_cannot_be_listed_is_told_at_the_start(host):
    with pytest.raises(ValidationError, match="a host and no path"):
        WebhooksConfig(hosts=[host])


@pytest.mark.parametrize("secret", ["short", "whsec_", "whsec_ab!!", "whsec_c2hvcnQ="])
def test_a_secret_that_is_too_short_is_told_without_it(secret):
    with pytest.raises(ValidationError) as refused:
        WebhooksConfig(secret=secret)
    assert secret.removeprefix("whsec_") == "" or secret not in str(refused.value.errors()[0]["msg"])
