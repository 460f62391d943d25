"""Fingerprints as text: which rule one was made by, and how two of different rules stand beside each other.

`2:` and 16 hex digits tell a model by its weights, by how its routers are set and by its active adapters. 16 digits alone are
of before fingerprints had a version: weights, sizes and top-k. Something that was made of both carries both, with a comma.
"""

UNCOMPARED = (
    "its fingerprint is of before they had a version, so how weights are renormalised and scaled, groups of experts, correction "
    "biases and active adapters were not compared"
)

WITHOUT_VERSION = (
    "Made before fingerprints had a version: of the model only weights, sizes and top-k can be compared with another's."
)


def versioned(digest: str) -> str:
    """The fingerprint of version 2 with these digits."""
    return f"2:{digest}"


def is_unversioned(fingerprint: str) -> bool:
    """Whether some part of it is of before fingerprints had a version."""
    return any(":" not in part for part in parts(fingerprint))


def parts(fingerprint: str) -> list[str]:
    """The fingerprints that something carries: one, or one of each version."""
    return fingerprint.split(",")


def joined(a: str | None, b: str | None) -> str | None:
    """What a thing carries that was made of two; None where two of one version differ, for they are two models'.

    Two of different versions cannot be told apart without the model, so both are kept, and both have to be the model's.
    """
    known = dict.fromkeys(part for x in (a, b) if x for part in parts(x))
    versions = [part.partition(":")[0] if ":" in part else "" for part in known]
    return ",".join(sorted(known)) if len(set(versions)) == len(versions) else None
