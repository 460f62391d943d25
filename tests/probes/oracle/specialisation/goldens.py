"""Every probe of specialisation on four prompts, worked by hand; selections: see `tests.probes.oracle.cases.golden`.

Token by token in layer 1, with ids of what 4, is and it 2, <think> 7:
  a  what 01  is 02  <think> 12        c  what 01  <think> 02
  b  what 12  is 12  it 01  <think> 02  d  what 02  is 01  <think> 12
"""

from math import log2, sqrt
from types import ModuleType

from tests.probes.oracle.cases import golden
from tests.probes.oracle.rows import assert_rows

KEYS = ("layer", "by", "role")


def token_specialisation(probes: ModuleType) -> None:
    # selections of experts 0 1 2: what 3 3 2, is and it 3 3 2, <think> 2 2 4; of 24, each id and each expert has 8
    # information: 3 in 4 cells, 2 in 4, 4 in one, each over 8 x 8 / 24
    bits = 4 * 3 / 24 * log2(3 * 24 / 64) + 4 * 2 / 24 * log2(2 * 24 / 64) + 4 / 24 * log2(4 * 24 / 64)
    # P(e | v): 3/4 3/4 1/2 twice, 1/2 1/2 1, around 2/3
    spread = (2 * sqrt((2 / 12**2 + 1 / 6**2) / 3) + sqrt((2 / 6**2 + 1 / 3**2) / 3)) / 3
    # by place: first 3 3 2; second a 02, b 12, c 02, d 01: 3 2 3; third a 12, b 01, d 12: 1 3 2; fourth b 02: 1 0 1
    cells = [(3, 8), (3, 8), (2, 8), (3, 8), (2, 8), (3, 8), (1, 6), (3, 6), (2, 6), (1, 2), (1, 2)]
    places = sum(c / 24 * log2(c * 24 / (n * 8)) for c, n in cells)
    found = probes.token_specialisation(golden().store, tokens="all", least=4)
    assert found.frame["layer"].unique().tolist() == [1, 2]
    layer = found.frame.query("layer == 1").set_index(["by", "role"])
    assert abs(layer.loc[("token", "all"), "information"] - bits) < 1e-9
    assert abs(layer.loc[("token", "all"), "spread"] - spread) < 1e-9
    assert abs(layer.loc[("position", "all"), "information"] - places) < 1e-9
    assert (abs(found.frame["information"] - found.frame["shuffled"] - found.frame["excess"]) < 1e-12).all()
    # both ids of the user select alike, and <think> is one id
    assert abs(layer.loc[("token", "user"), "information"]) < 1e-9
    assert layer.loc[("token", "think"), ["information", "shuffled", "kinds", "n"]].tolist() == [0, 0, 1, 4]
    assert layer.loc[("token", "all"), ["n", "kinds"]].tolist() == [12, 3]
    assert layer.loc[("position", "all"), ["n", "kinds"]].tolist() == [12, 4]
    rare = probes.token_specialisation(golden().store, tokens="all").frame
    assert rare["spread"].isna().all(), "no id occurs 128 times"
    only = probes.token_specialisation(golden().store, tokens="prompt", roles="user", least=4)
    assert_rows(
        only, KEYS, {(n, by, r): {"n": 8} for n in (1, 2) for by in ("token", "position") for r in ("all", "user")}
    )


GOLDENS = {"token_specialisation": token_specialisation}
