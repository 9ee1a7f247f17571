"""Numbers as people and models write them, read exactly: `1,000`, `1e3`, `3/8`, `\\frac{3}{8}`, `2 1/2`."""

from __future__ import annotations

import re
from collections import deque
from fractions import Fraction

MOST_DIGITS = 100
"""Characters a numeral may have, and the largest exponent: arithmetic on untrusted text stays cheap."""
_WINDOW = 4 * MOST_DIGITS

_DIGITS = r"(?P<digits>\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)"
_TIMES_TEN = r"\s?(?:[\u00d7*x]|\\times|\\cdot)\s?10\s?\^\s?\{?(?P<power>[-+]?\d+)\}?"
_NUMERAL = (
    r"(?:(?P<whole>\d+)?\s?\\[dtc]?frac\s?(?:\{(?P<above>-?\d+)\}|(?P<above1>\d))\s?(?:\{(?P<below>\d+)\}|(?P<below1>\d))"
    r"|(?:(?P<units>\d+)\s)?(?P<over>\d+)\s?/\s?(?P<under>\d+)(?!\.?\d)"
    rf"|{_DIGITS}(?:[eE](?P<exponent>[-+]?\d+)|{_TIMES_TEN})?)"
)
_SIGNED = re.compile(rf"(?P<sign>[-+]?)\s?{_NUMERAL}", re.ASCII)
_INSIDE = re.compile(rf"(?=[-+.\d\\])(?P<sign>(?<![\w)}}\]^.])[-+])?(?<![\w^])(?<!\d\.){_NUMERAL}", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
_LAST_WORD = re.compile(r"(?<=[a-z=] )\d{1,9}$", re.ASCII)
"""The "15" of "so she has 15": the common case, which the general pattern reads the same way, more slowly."""

_GROUPED = re.compile(r"(?<=\d)(?:\{,\}|\\,|\\!,|,\\!|[\u00a0\u2009\u202f])(?=\d{3})")
_OWED = re.compile(r"(?<![\w)}\]])-\s?\\?[$€£¥]\s?")
_CURRENCY = re.compile(r"\\?[$€£¥]")
_ADORNED = re.compile(r"[$\\{]")
_CHARACTERS = str.maketrans("\u2212\u2010\u2011\ufe63\uff0d\u2044\u00a0\u202f", "-----/  ")
_UNIT = re.compile(
    r"\s*(?:\^\s?(?:\\circ|\{\\circ\})|°|\\(?:text|textrm|mathrm|mbox)\s?\{[^{}]*\}(?:\^\d|\^\{\d\})?"
    r"|\s[A-Za-z]{2,}(?:\s[A-Za-z]+){0,2})?\s*\.?"
)
_NOT_A_UNIT = re.compile(
    r"\b(?:hundred|thousand|million|billion|trillion|dozen|percent|squared|cubed|factorial"
    r"|[ap]\.?\s?m|and|or|to|of|plus|minus|times|choose|mod|pi|inf|infinity|if|for|when)\b",
    re.IGNORECASE,
)
_WORD_AFTER = re.compile(r"[,;]?\s+\(?([A-Za-z]{2,})")
_LEADS_UP = re.compile(r"[=≈:,]$|[A-Za-z]{2}$")
_CLOSING = " .!*_$)"
_OPENING = " *_$("


def exact(text: str) -> Fraction | None:
    """The number that `text` is, perhaps after a currency sign or before a unit; None if it is not one."""
    if _INTEGER.fullmatch(text):
        return Fraction(int(text))
    if len(text) > MOST_DIGITS:
        return None
    text = _plain(text).strip()
    numeral = _SIGNED.match(text)
    if numeral is None or not is_unit(text[numeral.end() :]):
        return None
    return _value(numeral)


def is_unit(text: str) -> bool:
    """Whether `text`, found after a number, is nothing, or a unit that leaves the number's value alone."""
    return not text or (_UNIT.fullmatch(text) is not None and not _NOT_A_UNIT.search(text))


def first(text: str) -> Fraction | None:
    """The first number in the first characters of `text`, None if there is none there or it is too long."""
    numeral = _INSIDE.search(_plain(text[:_WINDOW]))
    return _value(numeral) if numeral else None


def last(text: str) -> Fraction | None:
    """The last number in `text`, None if there is none or it is too long."""
    end = max(map(text.rfind, "0123456789")) + 1
    if word := _LAST_WORD.search(text, max(0, end - 12), end):
        return Fraction(int(word[0]))
    for window in (_WINDOW // 10, _WINDOW):
        start = max(0, end - window)
        numeral = _last_in(_plain(text[start : end + 1]))
        if start == 0 or (numeral and numeral.start() > window // 2):
            break
    return _value(numeral) if numeral else None


def leading(text: str) -> Fraction | None:
    """The number that `text` starts with, where words follow that do not change it: "18 dollars, since …"."""
    text = _plain(text[:_WINDOW]).lstrip()
    numeral = _SIGNED.match(text)
    if numeral and (word := _WORD_AFTER.match(text, numeral.end())) and not _NOT_A_UNIT.match(word[1]):
        return _value(numeral)
    return None


def ending(text: str) -> Fraction | None:
    """The number that `text` ends with, after a word or `=`, perhaps before a unit: "she has 18 dollars"."""
    line = text[-MOST_DIGITS:].rpartition("\n")[2].rstrip(_CLOSING)
    if word := _LAST_WORD.search(line, max(0, len(line) - 12)):
        return Fraction(int(word[0]))
    line = _plain(line)
    numeral = _last_in(line)
    if numeral is None or not is_unit(line[numeral.end() :]):
        return None
    return _value(numeral) if _LEADS_UP.search(line[: numeral.start()].rstrip(_OPENING)[-2:]) else None


def show(value: Fraction) -> str:
    """The one way to write `value`: `1000`, `0.125`, or `1/3` where no decimal is exact."""
    above, below = value.numerator, value.denominator
    if below == 1:
        return str(above)
    places, rest = 0, below
    for factor in (10, 5, 2):
        while rest % factor == 0:
            rest //= factor
            places += 1
    if rest != 1:
        return f"{above}/{below}"
    digits = str(abs(above) * 10**places // below).rjust(places + 1, "0")
    return f"{'-' if above < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _plain(text: str) -> str:
    """`text` with ASCII signs, without currency signs, thousands separated by commas or nothing."""
    if text.isascii() and not _ADORNED.search(text):
        return text
    text = _GROUPED.sub("", text).translate(_CHARACTERS)
    return _CURRENCY.sub(" ", _OWED.sub(" -", text))


def _last_in(text: str) -> re.Match[str] | None:
    found = deque(_INSIDE.finditer(text), maxlen=1)
    return found[0] if found else None


def _value(numeral: re.Match[str]) -> Fraction | None:
    if len(numeral[0]) > MOST_DIGITS:
        return None
    if numeral["digits"]:
        value = _decimal(numeral["digits"], numeral["exponent"] or numeral["power"])
    else:
        value = _fraction(
            numeral["whole"] or numeral["units"],
            numeral["above"] or numeral["above1"] or numeral["over"],
            numeral["below"] or numeral["below1"] or numeral["under"],
        )
    return -value if value is not None and numeral["sign"] == "-" else value


def _decimal(digits: str, power: str | None) -> Fraction | None:
    whole, _, part = digits.replace(",", "").partition(".")
    exponent = int(power or 0) - len(part)
    if abs(exponent) > MOST_DIGITS:
        return None
    value = int(whole + part)
    return Fraction(value * 10**exponent) if exponent >= 0 else Fraction(value, 10**-exponent)


def _fraction(whole: str | None, above: str, below: str) -> Fraction | None:
    if int(below) == 0:
        return None
    return int(whole or 0) + Fraction(int(above), int(below))
