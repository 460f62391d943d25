"""What JSON has no word for becomes what it has."""

import numpy as np

from workbench.storage import jsonable

NAN = float("nan")


def test_what_is_no_json_becomes_json() -> None:
    given = {
        1: (np.float64(0.5), np.int64(3)),
        "b": [NAN, float("inf"), None, True, "text", (1, np.float32(NAN))],
        "c": np.str_("x"),
        "d": {"e": (1,)},
    }
    expected = {
        "1": [0.5, 3],
        "b": [None, None, None, True, "text", [1, None]],
        "c": "x",
        "d": {"e": [1]},
    }
    assert jsonable(given) == expected
