"""What holds for every test: no setting of the caller's reaches it, and on demand nothing may be skipped."""

from __future__ import annotations

import os
import shutil
import tempfile
import tomllib
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from meterbridge import redaction
from tests import quick_ledgers

# Before any test module imports Prefect, which reads its variables once. METERBRIDGE_TEST_ is ours to steer tests with.
for _name in [name for name in os.environ if name.startswith(("CHARGEBEE_", "M3TER_", "METERBRIDGE_", "PREFECT_"))]:
    if not _name.startswith("METERBRIDGE_TEST_"):
        del os.environ[_name]

quick_ledgers.install()

# A run writes a few files and flushes each of them: in memory, where there is room, the suite takes a fifth less.
if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 4 << 30:
    tempfile.tempdir = "/dev/shm"

_home = tempfile.TemporaryDirectory(prefix="meterbridge-tests-")
os.environ["PREFECT_HOME"] = _home.name
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "1"

# `make test` tries few examples of each property, always the same ones, so that the unit tests stay below ten seconds;
# `make slow` tries ten times as many, the same ones too: what is green there is green for everybody. New ones each time
# are looked for by `make drills`: pytest --hypothesis-profile=search -m hypothesis tests/unit
_few = hypothesis.settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("few", _few)
hypothesis.settings.register_profile("thorough", _few, max_examples=400)
hypothesis.settings.register_profile("search", _few, max_examples=1_000, derandomize=False, print_blob=True)
hypothesis.settings.load_profile("few")


_WHOLE = ("tests/flows/", "tests/compare/", "tests/histories/")
_CASES_OF_A_TEST = 1
_TESTS_OF_A_FILE = 3
_CORE = tomllib.loads(Path(quick_ledgers.__file__).with_name("core.toml").read_text(encoding="utf-8"))


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark ``whole`` what `make test` leaves out: flow tests that ``core.toml`` does not name, and PostgreSQL.

    Of these flow tests every change is tried on a sample, for whole they take half an hour: of a test of many cases
    one, of a file of many tests three, chosen by a checksum of their names so that it is not always the plain ones. All
    others are ``variant``, and `make test-whole` plays them.
    """
    core = {
        f"tests/flows/{name}"
        for flow in _CORE.values()
        for row in flow.values()
        if isinstance(row, list)
        for name in row
    }
    sampled = []
    for item in items:
        name = item.nodeid.split("[")[0]
        if item.get_closest_marker("postgres") or (item.nodeid.startswith(_WHOLE) and name not in core):
            item.add_marker(pytest.mark.whole)
            if item.nodeid.startswith("tests/flows/") and not item.get_closest_marker("each_case"):
                sampled.append(item)
        core.discard(name)  # of a parametrised test the first case alone
    of_tests, of_files = Counter[str](), Counter[str]()
    for item in sorted(sampled, key=lambda one: zlib.crc32(one.nodeid.encode())):
        name = item.nodeid.split("[")[0]
        file = name.split("::")[0]
        is_long = item.get_closest_marker("slow") or item.get_closest_marker("prefect")
        if of_tests[name] == _CASES_OF_A_TEST or (not is_long and of_files[file] == _TESTS_OF_A_FILE):
            item.add_marker(pytest.mark.variant)
            continue
        of_tests[name] += 1
        of_files[file] += not is_long


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """With METERBRIDGE_TEST_NO_SKIP=1 a skipped test is a failed one."""
    report = yield
    expected = hasattr(report, "wasxfail")
    if report.skipped and not expected and os.environ.get("METERBRIDGE_TEST_NO_SKIP") == "1":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and METERBRIDGE_TEST_NO_SKIP allows none: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _own_secrets() -> Iterator[None]:
    """What a test has for a secret is an ordinary word in the next one."""
    before = dict(redaction._secrets)
    yield
    redaction._secrets.clear()
    redaction._secrets.update(before)
