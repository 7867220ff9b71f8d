from __future__ import annotations

import pytest

from churn_assets.errors import SourceError
from churn_assets.sources.formats.documents import Number, decoded, flattened, rows_in, text


def test_numbers_stay_as_they_are_written() -> None:
    row = flattened(decoded('{"a": 1.10, "b": 1e3, "c": 12345678901234567890, "d": -0, "e": NaN}'))
    assert row == {"a": "1.10", "b": "1e3", "c": "12345678901234567890", "d": "-0", "e": "NaN"}
    assert {type(value) for value in row.values()} == {str}


def test_truth_and_null_are_told_apart_from_text() -> None:
    assert flattened(decoded('{"a": true, "b": false, "c": null, "d": ""}')) == {
        "a": "true", "b": "false", "c": None, "d": "",
    }  # fmt: skip


def test_objects_become_dotted_names_and_lists_stay_json() -> None:
    document = '{"a": {"b": {"c": 1}, "d": {}}, "e": [1.50, "x", {"f": [true, null, "2"]}], "g": []}'
    assert flattened(decoded(document)) == {
        "a.b.c": "1", "a.d": None, "e": '[1.50, "x", {"f": [true, null, "2"]}]', "g": "[]",
    }  # fmt: skip


def test_two_values_for_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the key 'a\.b' twice, once by a dot"):
        flattened(decoded('{"a": {"b": 1}, "a.b": 2}'))
    with pytest.raises(ValueError, match=r"the key 'b' twice in one object"):
        decoded('[{"a": {"b": 1, "b": 2}}]')


@pytest.mark.parametrize(("document", "path"), [
    ('[{"id": 1}]', None), ('{"data": [{"id": 1}]}', None), ('{"a": {"data": [{"id": 1}], "tags": ["x"]}}', None),
    ('{"a": {"data": [{"id": 1}]}, "errors": []}', "a.data"),
])  # fmt: skip
def test_the_list_of_rows_is_found(document: str, path: str | None) -> None:
    assert rows_in(decoded(document), path, "here", "Look again.") == [{"id": "1"}]


@pytest.mark.parametrize(("document", "path", "told"), [
    ('{"a": [], "b": {"c": [{}]}}', None, "expected one list of objects, found 2, at a, b.c. Name the one"),
    ('{"id": 1}', None, "found '{\"id\": 1}' without one. Look again."),
    ("7", None, "found '7' without one. Look again."),
    ('{"a": {"b": []}}', "a.c", "expected a list at 'a.c', found no 'c' there. Lists are at: a.b. Mend"),
    ('{"a": null}', "a", "expected a list at 'a', found 'null'"),
    ('{"a": [1]}', "a.0", "found no '0' there. There is no list of objects at all."),
])  # fmt: skip
def test_no_list_of_rows_is_refused(document: str, path: str | None, told: str) -> None:
    with pytest.raises(SourceError) as error:
        rows_in(decoded(document), path, "here", "Look again.")
    assert told in str(error.value)


def test_a_number_is_still_a_number_inside_a_list() -> None:
    assert text([Number("1.0"), "1.0"]) == '[1.0, "1.0"]'


def test_a_document_that_nests_without_end_is_no_json() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        decoded("[" * 1_000_000)


def test_a_document_that_nests_too_deeply_to_be_told_is_refused_too() -> None:
    deep: dict[str, object] = {"a": 1}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="nested too deeply"):
        flattened(deep)
    with pytest.raises(SourceError, match="found what is nested too deeply without one"):
        rows_in(deep, None, "here", "Look again.")


def test_bytes_are_read_in_any_unicode_encoding() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32-le"):
        assert decoded('{"a": "é"}'.encode(encoding)) == {"a": "é"}
    with pytest.raises(ValueError, match="can't decode byte 0xe9"):
        decoded(b'"\xe9"')
