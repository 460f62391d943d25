"""Every probe of traffic on four prompts, worked by hand; selections: see `tests.probes.oracle.cases.golden`.

Token by token, the generated one last:
  layer 1   a 01 02 12   b 12 12 01 02   c 01 02   d 02 01 12
  layer 2   a 03 03 12   b 12 01 23 03   c 03 12   d 12 13 01
"""

from types import ModuleType

from tests.probes.oracle.cases import golden
from tests.probes.oracle.rows import assert_rows

KEYS = ("layer", "measure", "window", "cache")


def locality(probes: ModuleType) -> None:
    # 8 windows of 2 tokens, experts by how many of the two select them, layer 1:
    #   a 01-02 {2 1 1}, 02-12 {1 1 2}   b 12-12 {0 2 2}, 12-01 {1 2 1}, 01-02 {2 1 1}
    #   c {2 1 1}   d 02-01 {2 1 1}, 01-12 {1 2 1}
    #   9 twice, 14 once, 1 never. From 2 on: TP 18, Pred 18, Act 32: 36 / 50; from 1: TP 32, Pred 46: 64 / 78; 0: 64 / (48 + 32)
    # layer 2: a 03-03 {2 0 0 2}, 03-12 {1 1 1 1}   b 12-01 {1 2 1}, 01-23 {1 1 1 1}, 23-03 {1 0 1 2}   c {1 1 1 1}
    #   d 12-13 {0 2 1 1}, 13-01 {1 2 0 1}: 6 twice, 20 once: 2: 24 / 44; 1: TP 32, Pred 52: 64 / 84
    # even routing of 2 of 3 experts: twice 4/9, once 4/9, never 1/9: threshold 1: (2 x 4/3) / (16/9 + 4/3) = 6/7; 2 and 0: 4/5
    # rates of layer 1 are 2/3 each: the same. Caches of 2, hits of a, b, c, d:
    #   layer 1  LRU 0+1+1, 0+2+1+1, 0+1, 0+1+1   LFU 2, 0+2+1+1, 1, 2   oracle 0+1+2, 0+2+1+2, 1, 0+1+2
    #   layer 2  LRU 0+2+0, 0+1+0+1, 0, 0+1+1     LFU 2, 0+1+0+0, 0, 2          oracle 0+2+0, 0+1+1+2, 0, 0+1+1
    found = probes.locality(golden().store, windows=[2], caches=[1], n_bootstrap=0)
    none = {"n": 12, "size": None}
    expected = {
        (1, "SRP", 2, None): {"value": 64 / 78, "n": 8, "size": 46 / 32},
        (1, "LRU", None, 2): {"value": 9 / 24, **none},
        (1, "LFU", None, 2): {"value": 9 / 24, **none},
        (1, "oracle", 2, 2): {"value": 12 / 24, **none},
        (2, "SRP", 2, None): {"value": 64 / 84, "n": 8, "size": 52 / 32},
        (2, "LRU", None, 2): {"value": 6 / 24, **none},
        (2, "LFU", None, 2): {"value": 5 / 24, **none},
        (2, "oracle", 2, 2): {"value": 8 / 24, **none},
    }
    assert_rows(found, KEYS, expected)
    first = found.frame.iloc[0]
    assert abs(first["floor"] - 6 / 7) < 1e-9
    assert abs(first["load_floor"] - 6 / 7) < 1e-9
    # both layers: 15 twice, 34 once of 64: threshold 1: 128 / (98 + 64)
    assert "all layers with one threshold: SRP 0.790 at 2 tokens" in found.notes
    # a window of 5 tokens fits nowhere; a cache of every expert misses what comes first: 3 + 3 + 3 + 3 of 24
    wide = probes.locality(golden().store, windows=[5], caches=[1.5], n_bootstrap=0)
    assert wide.frame.query("layer == 1").set_index("measure")["value"].isna().to_dict()["SRP"]
    assert abs(wide.frame.query("layer == 1 and measure == 'LRU'")["value"].iloc[0] - 12 / 24) < 1e-9
    # stretches of one token have no window and hit nothing
    short = probes.locality(golden().store, windows=[2], caches=[1], longest=1, n_bootstrap=0).frame
    assert short.query("measure == 'SRP'")["n"].tolist() == [0, 0]
    assert short.query("measure != 'SRP'")["value"].tolist() == [0] * 6


def capacity(probes: ModuleType) -> None:
    # prompt tokens; each response by itself, factor 1: places a 4/3, b 6/3, c 2/3, d 4/3 rounded up in layer 1: 2 2 1 2
    #   only b has an expert three times, 1, the last time at its third token: 1 of 16
    # layer 2: 4/5, 6/5, 2/5, 4/5: 1 2 1 1: a repeats both at its second token, d repeats 1 there: 3 of 16
    found = probes.capacity(golden().store, factors=[1, 0.5], parts=3, tokens="prompt")
    at = ("layer", "factor", "first", "last")
    expected = {
        (1, 1, 0, 2): {"dropped": 1 / 16, "n": 16},
        (1, 1, 0, 0): {"dropped": 0, "n": 8},
        (1, 1, 1, 1): {"dropped": 0, "n": 6},
        (1, 1, 2, 2): {"dropped": 1 / 2, "n": 2},
        (2, 1, 0, 2): {"dropped": 3 / 16, "n": 16},
        (2, 1, 0, 0): {"dropped": 0, "n": 8},
        (2, 1, 1, 1): {"dropped": 3 / 6, "n": 6},
        (2, 1, 2, 2): {"dropped": 0, "n": 2},
        # half of it: one place each in layer 1: a repeats 0; b 12 and then 1, both dropped by 1 and 2; its 1 again; d repeats 0
        (1, 0.5, 0, 2): {"dropped": 5 / 16, "n": 16},
        (1, 0.5, 0, 0): {"dropped": 0, "n": 8},
        (1, 0.5, 1, 1): {"dropped": 4 / 6, "n": 6},
        (1, 0.5, 2, 2): {"dropped": 1 / 2, "n": 2},
        # in layer 2: a 2, b 2 at its third token (0 1 after 1 2: 1) and (2 3: 2), d 1
        (2, 0.5, 0, 2): {"dropped": 5 / 16, "n": 16},
        (2, 0.5, 0, 0): {"dropped": 0, "n": 8},
        (2, 0.5, 1, 1): {"dropped": 4 / 6, "n": 6},
        (2, 0.5, 2, 2): {"dropped": 1 / 2, "n": 2},
    }
    assert_rows(found, at, expected)
    # pairs x = (a, b), y = (c, d): of layer 1 x drops 1 of 10, y 0 of 6
    first = found.frame.iloc[0]
    assert abs(first["low"]) < 1e-9
    assert abs(first["high"] - 1 / 10) < 1e-9
    # two responses share: a and b 10/3, 4 places, expert 1 comes 4 times; c and d 6/3, 2 places, expert 0 comes 3 times
    two = probes.capacity(golden().store, factors=[1], parts=1, together=2, tokens="prompt", n_bootstrap=0).frame
    assert two.query("layer == 1")["dropped"].tolist() == [1 / 16]


GOLDENS = {"locality": locality, "capacity": capacity}
