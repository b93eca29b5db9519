"""The change set: what becomes of each kind of decision before anything is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meterbridge.rules.records import Intent, OutOfScope, Quarantined, Ref, Unchanged, Waiting
from meterbridge.staging.database import opened
from tasks.change_set import Tray, land, landed_intents, landed_quarantine


def wish(key: str, **change: Any) -> Intent:
    base = {
        "kind": "account",
        "action": "create",
        "target": "m3ter",
        "payload": {"code": key},
        "fingerprint": f"f-{key}",
    }
    return Intent(**{**base, "key": (key,), "reason": "new", "scope": f"account:{key}", **change})


def test_decisions_are_counted_and_intents_come_back_as_they_were(tmp_path: Path) -> None:
    tray = Tray({})
    whole = wish(
        "Ünï",
        payload={"accountId": Ref("account", ("x",)), "n": 1, "end": None},
        depends_on=(Ref("account", ("x",)),),
        amount=-5,
        currency="EUR",
        source_version=1767225601345,
        warnings=("w",),
    )
    for decision in (
        whole,
        Unchanged("account", ("u",)),
        OutOfScope("account", ("o",), "not mapped"),
        Quarantined("charge", ("b", "s"), "MB-BILL-NEGATIVE", "left over", 412, "EUR", 7),
        Waiting("charge", ("b", "t"), "no draft yet", 100, "JPY"),
    ):
        tray.put(decision)
    with opened(tmp_path / "run.duckdb") as file:
        summary = land(file, tray, ["x", "x"])
        [back] = landed_intents(file)
        [aside] = landed_quarantine(file)
    assert (summary.unchanged, summary.out_of_scope, summary.quarantined, summary.waiting) == (1, 1, 1, 1)
    assert summary.intended == {"account.create": 1}
    assert summary.subjects == ("x",)
    assert (back.key, back.amount, back.currency, back.source_version) == (("Ünï",), -5, "EUR", 1767225601345)
    assert back.payload == {"accountId": {"$ref": ["account", "x"]}, "n": 1, "end": None}
    assert back.depends_on == whole.depends_on
    assert (aside.code, aside.amount, aside.currency, aside.source_version) == ("MB-BILL-NEGATIVE", 412, "EUR", 7)


def test_what_depends_on_a_record_set_aside_is_set_aside_too_and_nothing_else(tmp_path: Path) -> None:
    tray = Tray({})
    tray.put(Quarantined("account", ("bad",), "MB-ACCOUNT-CLASH", "differs in case"))
    tray.put(wish("plan", kind="account_plan", depends_on=(Ref("account", ("bad",)),)))
    tray.put(wish("mapping", kind="external_mapping", depends_on=(Ref("account_plan", ("plan",)),)))
    tray.put(wish("good", kind="account_plan", depends_on=(Ref("account", ("good",)),)))
    with opened(tmp_path / "run.duckdb") as file:
        summary = land(file, tray, [])
        kept = [one.key for one in landed_intents(file)]
        codes = {one.key: one.code for one in landed_quarantine(file)}
        rows = file.rows("select key, waits_for from out_set_aside where waits_for <> ''")
        waits = {row["key"]: row["waits_for"] for row in rows}
    assert waits == {'["plan"]': '["account","bad"]', '["mapping"]': '["account_plan","plan"]'}
    assert kept == [("good",)]
    assert codes == {("bad",): "MB-ACCOUNT-CLASH", ("plan",): "MB-DEPENDS", ("mapping",): "MB-DEPENDS"}
    assert summary.intended == {"account_plan.create": 1}


def test_a_refused_write_is_not_sent_again_until_it_differs(tmp_path: Path) -> None:
    tray = Tray({("account", ("a",)): ("f-a", "MB-REFUSED", "no such currency")})
    tray.put(wish("a"))
    with opened(tmp_path / "run.duckdb") as file:
        land(file, tray, [])
        assert list(landed_intents(file)) == []
        assert [one.message for one in landed_quarantine(file)] == ["no such currency"]
    tray = Tray({("account", ("a",)): ("f-a", "MB-REFUSED", "no such currency")})
    tray.put(wish("a", fingerprint="another"))
    with opened(tmp_path / "two.duckdb") as file:
        land(file, tray, [])
        assert [one.key for one in landed_intents(file)] == [("a",)]
