"""Credits that stand are given back to their portions by their references; what is nobody's, or twice, is named."""

from meterbridge.rules.credits import FoundCredit, given_for
from meterbridge.rules.keys import canonical, reference

PORTIONS = [("bill", "sub-1"), ("bill", "sub-2")]
MARK = "7c2a"


def key(portion, number):
    return (*portion, canonical(["credit", number]))


def credit(name, portion=PORTIONS[0], number=0, mark=MARK):
    return FoundCredit(name, "promotional_credit", "cust", 100, "EUR", reference(key(portion, number), mark))


def test_each_portion_takes_its_credits_by_number() -> None:
    first, second, other = credit("a"), credit("b", number=1), credit("c", PORTIONS[1], mark="")
    claimed, strange = given_for([second, other, first], PORTIONS, MARK)
    assert claimed == {key(PORTIONS[0], 0): first, key(PORTIONS[0], 1): second, key(PORTIONS[1], 0): other}
    assert strange == []


def test_one_of_no_portion_and_a_second_of_one_reference_are_strange() -> None:
    lost, first, again = credit("lost", ("gone", "sub")), credit("first"), credit("again")
    claimed, strange = given_for([lost, first, again], PORTIONS, MARK)
    assert claimed == {key(PORTIONS[0], 0): first}
    assert {one.id for one in strange} == {"lost", "again"}


def test_another_connections_credit_is_none_of_ours() -> None:
    assert given_for([credit("theirs", mark="beef")], PORTIONS, MARK) == ({}, [])
