from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.sources.formats.quotes import Quotes, Unclosed

TEXT = st.text('",\n\ra', max_size=30).map(str.encode)


def unclosed(*blocks: bytes) -> int | None:
    quotes = Quotes(",")
    try:
        for block in blocks:
            quotes.look(block)
        quotes.end()
    except Unclosed as error:
        return error.at
    return None


def byte_by_byte(text: bytes) -> int | None:
    """What ``Quotes`` must find, said plainly."""
    edges, at, opened = b",\n\r", 0, None
    while at < len(text):
        after = text[at + 1] if at + 1 < len(text) else ord("\n")
        if text[at] == ord('"'):
            if opened is None:
                opened = at if at == 0 or text[at - 1] in edges else None
            elif after == ord('"'):
                at += 1
            elif after not in edges and any(end in text[opened:at] for end in (b"\n", b"\r")):
                return opened
            else:
                opened = None
        at += 1
    return opened


@settings(max_examples=1000, deadline=None)
@given(TEXT, st.lists(st.integers(0, 30), max_size=4))
def test_blocks_may_end_anywhere(text: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(text)]
    blocks = [text[a:b] for a, b in pairwise(edges)]
    assert unclosed(*blocks) == unclosed(text) == byte_by_byte(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ('a,"b\nc",d\n', None), ('a,"b ""c"" d"\n', None), ('a,5" pipe\n', None), ('"a"b,c\n', None),
        ('a\nb,"c\nd', 4), ('a,"b\nc,"d"\n', 2),
    ],
)  # fmt: skip
def test_a_quote_is_told_from_the_others(text: str, at: int | None) -> None:
    assert unclosed(text.encode()) == at
