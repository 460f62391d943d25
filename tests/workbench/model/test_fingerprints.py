"""Fingerprints as text: versions, parts, and two that become one."""

from workbench.anatomy import is_unversioned, joined
from workbench.anatomy.fingerprints import parts, versioned


def test_fingerprints_as_text() -> None:
    assert (versioned("ab"), parts("2:ab,cd")) == ("2:ab", ["2:ab", "cd"])
    assert [is_unversioned(x) for x in ("2:ab", "ab", "2:ab,cd", "1:a,2:b")] == [False, True, True, False]
    for a, b, both in (
        *((None, None, ""), ("2:a", None, "2:a"), (None, "b", "b"), ("2:a", "2:a", "2:a"), ("2:a", "2:b", None)),
        *(
            ("b", "2:a", "2:a,b"),
            ("a", "b", None),
            ("2:a,b", "b", "2:a,b"),
            ("2:a,b", "c", None),
            ("1:a", "2:a", "1:a,2:a"),
        ),
    ):
        assert joined(a, b) == both
