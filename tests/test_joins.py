"""Names of one form: what a person takes for the same name, and what is really another."""

from __future__ import annotations

import pytest

from harness.joins import Partners, alike, difference, first_alike, form, hint

SAME = [
    ("004", "4", "leading zeros"),
    ("4.0", "4", "a fraction of zero"),
    ("Flu", "flu", "capitals"),
    (" flu", "flu", "white space"),
    ("stomach  flu", "stomach flu", "white space"),
    ("cafe\u0301", "caf\u00e9", "kinds of characters (Unicode)"),
    ("a\u200bb", "ab", "kinds of characters (Unicode)"),
    ("p\u20131", "p-1", "kinds of dashes"),
    ("p\u22121", "p-1", "kinds of dashes"),
    ("dumping_syndrome", "dumping syndrome", "hyphens, underscores and spaces"),
    ("scan7.png", "scan7", "the file's ending"),
    ("a\\x.png", "a/x.png", "slashes"),
    ("IMG_01.PNG", "img-1", "form"),
]
OTHER = [
    ("1.05", "1.5"), ("0.05", "0.5"), ("100", "1"), ("10", "1"), ("A-", "A"), ("-1", "1"), ("+1", "1"),
    ("C+", "C"), ("1.20.0", "1.20"), ("flu a", "flu b"), ("s10", "s1"), ("a.b", "ab"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "what"), SAME)
def test_names_that_differ_only_in_form_are_told_in_what(one: str, other: str, what: str) -> None:
    assert form(one) == form(other)
    assert difference(one, other) == difference(other, one) == what
    assert [str(pair) for pair in alike([one], [other])] == [
        f"'{one}' and '{other}' differ only in {what}"
    ]


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_names_that_say_different_things_have_different_forms(one: str, other: str) -> None:
    assert form(one) != form(other)
    assert alike([one], [other]) == []
    assert first_alike([one, other]) is None


def test_a_name_that_has_its_partner_is_not_hinted_at() -> None:
    assert alike(["4"], ["004", "4"]) == []
    assert hint(["4"], ["004", "4"]) == ""


def test_samples_and_rows_without_a_partner_are_counted_with_examples() -> None:
    partners = Partners({n: n for n in ("001", "002", "x")}, {n: n for n in ("1", "2", "x", "y")})
    assert partners.missing("the table") == (
        "2 of 3 samples ('001', '002'); the table has '1', which differs only in leading zeros "
        "(2 such)"
    )
    assert partners.unused() == "3 of 4 ('1', '2', 'y')"


def test_names_made_from_texts_are_compared_and_shown_by_their_texts() -> None:
    partners = Partners({"f00": "Why do I cough?"}, {"ba5": "Why do I  cough?"})
    assert partners.missing("it") == (
        "1 of 1 samples ('Why do I cough?'); it has 'Why do I  cough?', which differs only in "
        "white space"
    )
