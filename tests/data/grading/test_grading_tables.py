"""The tables of the card, cell by cell, from grades small enough to work out."""


def test_a_table_rounds_numbers_and_leaves_words():
    from grading.tables import table

    assert table(["", "a"], [["x", 2.6], [3, "y"]]) == "|  | a |\n| --- | --- |\n| x | 3 |\n| 3 | y |"


RATES = {"ordinary answered": 95.0, "short sums": 80.0, "long sums, asked to think": 70.0, "translation": 60.0,
         "code": 50.0, "story": 40.0, "document wins": 30.0, "flag known": 20.0}  # fmt: skip


def model(**more):
    base = RATES | {"sensitive refused": 88.4, "ordinary refused": 3.6, "sensitive answered": 5.0}
    return {"effects": {"base": base} | more, "random": {}, "forced": {}}


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_of_behaviours_with_and_without_carriers():
    from grading.tables import behaviours

    off = {"sensitive refused": 10.4, "sensitive answered": 70.6}
    ranking = {"a": model(**{"carriers off": off}), "b": model(), "c": model()}
    held = {
        "effects": {
            "base": {"sensitive refused": 40.0, "ordinary refused": 9.0},
            "carriers off": {"sensitive refused": 2.0, "sensitive answered": 66.0},
        }
    }
    head, _, *rows = behaviours(ranking, {"a": held, "b": {"effects": {"base": held["effects"]["base"]}}}).splitlines()
    assert cells(head)[:7] == ["model", "refused: sensitive", "ordinary", "held-out sensitive", "held-out ordinary",
                               "carriers off: refused (revealed)", "the same, held-out"]  # fmt: skip
    rates = ["80", "70", "60", "50", "40", "30", "20"]
    assert cells(head)[7:] == list(RATES)[1:]
    assert cells(rows[0]) == ["a", "88", "4", "40", "9", "10 (71)", "2 (66)", *rates]
    assert cells(rows[1]) == ["b", "88", "4", "40", "9", "no carriers", "", *rates]
    assert cells(rows[2]) == ["c", "88", "4", "", "", "no carriers", "", *rates]


def test_the_table_of_hits_with_and_without_a_base():
    from grading.tables import found

    score = {"hits": {"1": 0, "2": 1, "4": 2, "8": 3}, "average_precision": 0.256, "chance": 0.0625}
    base = {"hits": {"8": 5}, "average_precision": 0.1}
    grade = {
        "hits": {"x": score, "y": score, "z": {"none": "why"}, "w": score},
        "hits on the base": {"x": base, "y": {"none": "why"}},
    }
    head, _, *rows = found({"m": grade, "natural": {}}, "hits").splitlines()
    assert cells(head) == ["model", "method", *(f"hits in first {n}" for n in (1, 2, 4, 8)), "average precision",
                           "base: hits in first 8", "base: average precision", "random order"]  # fmt: skip
    mine = ["0", "1", "2", "3", "0.26"]
    assert [cells(row) for row in rows] == [
        ["m", "x", *mine, "5", "0.10", "0.06"], ["m", "y", *mine, "", "", "0.06"], ["m", "w", *mine, "", "", "0.06"],
    ]  # fmt: skip


def test_the_table_of_first_experts_off_names_what_lost_most():
    from grading.tables import top_off

    worse = RATES | {"sensitive refused": 12.4, "sensitive answered": 61.5, "code": 44.0, "story": 38.0}
    better = {"sensitive refused": 50.0, "sensitive answered": 9.0, "code": 50.0, "flag known": 25.0}
    grade = model(**{"x, top 1 off": worse, "x, top 8 off": better})
    head, _, *rows = top_off({"m": grade}, ["x", "y"]).splitlines()
    assert cells(head) == [
        "model",
        "method",
        "refused before",
        "first 1 off",
        "first 2 off",
        "first 4 off",
        "first 8 off",
    ]
    assert [cells(row) for row in rows] == [["m", "x", "88", "12 (62); code -6", "", "", "50 (9)"]]


def test_the_tables_of_random_experts_and_of_thinking():
    from grading.tables import random_checks, random_experts, thinking

    draws = [
        RATES | {"sensitive refused": value, "code": code} for value, code in ((80.4, 10.0), (90.5, 50.0), (86.5, 30.0))
    ]
    grade = model() | {"random": {"8": {"count": draws, "layer": draws[:1], "usage": draws[1:]}}}
    *_, count, layer, use = random_experts({"m": grade}).splitlines()
    assert cells(count) == ["m", "count", "-1.9", "-8 +2 -2"]
    assert cells(layer) == ["m", "layer", "-8.0", "-8"]
    assert cells(use) == ["m", "usage", "+0.1", "+2 -2"]
    assert len(random_experts({"m": model()}).splitlines()) == 2
    head, _, count, *_ = random_checks({"m": grade}).splitlines()
    assert cells(head) == ["model", "random by", *RATES]
    assert cells(count) == ["m", "count", "95", "80", "70", "60", "30", "40", "30", "20"]
    names = [f"long sums, {a} thought about: {b}" for a in ("always", "sometimes") for b in ("thinks", "right")]
    now, off = (
        dict(zip(names, (90.0, 80.0, 40.0, 30.0), strict=True)),
        dict(zip(names, (9.0, 8.0, 4.0, 3.0), strict=True)),
    )
    one, two = {"effects": {"base": now, "thinking carriers off": off}}, {"effects": {"base": now}}
    rows = [cells(row) for row in thinking({"m": one, "natural": two}).splitlines()[2:]]
    assert rows == [["m", "always", "90", "80", "9", "8"], ["m", "sometimes", "40", "30", "4", "3"],
                    ["natural", "always", "90", "80", "", ""], ["natural", "sometimes", "40", "30", "", ""]]  # fmt: skip


def test_the_tables_of_forced_and_of_single_experts():
    from grading.tables import forced, reinforced, singles

    grade = model() | {"forced": {"2": {"plan": "force L1E1", "sensitive refused": 99.0, "ordinary refused": 70.0}}}
    assert cells(forced({"m": grade}).splitlines()[-1]) == ["m", "2", "force L1E1", "88", "4", "99", "70"]
    grade["single experts"] = [{"expert": f"L{a}E{b}", "sensitive refused": r, "carrier": (a, b) == (1, 1)}
                               for a, b, r in ((0, 0, 88.4), (0, 1, 90.0), (1, 0, 80.4), (1, 1, 8.4))]  # fmt: skip
    assert [cells(row) for row in singles(grade).splitlines()] == [
        ["", "E0", "E1"], ["---"] * 3, ["L0", "+0", "+2"], ["L1", "-8", "-80*"]]  # fmt: skip
    rows = reinforced(
        {"nothing": {"plan": "nothing", "short sums": 82.5}, "off": {"plan": "off L1E1", "short sums": 7.0}}
    ).splitlines()
    assert [cells(row) for row in rows] == [["plan", "short sums"], ["---"] * 2, ["nothing", "82"], ["off", "7"]]
