"""The file of links: what is read of it, what is refused, who may read it."""

import stat
from pathlib import Path

import pytest

from meterbridge.errors import SetupError
from meterbridge.rules.links import LinkLine
from tasks.link_file import COLUMNS, read_links, write_links


def written(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "links.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("customer_id,account_id\nacme,A1\n", id="by-hand"),
        pytest.param("customer_id;account_id;note\nacme;A1;x\n", id="semicolons"),
        pytest.param("\ufeffcustomer_id,account_id\r\n acme , A1 \r\n", id="spreadsheet"),
        pytest.param("link,customer_id,account_id\nYES,acme,A1\nno,beta,A2\n,zeta,A3\n", id="marked"),
    ],
)
def test_lines_that_say_yes_are_read(tmp_path: Path, text: str) -> None:
    assert read_links(written(tmp_path, text)) == [LinkLine(2, "acme", "A1", "")]


def test_a_code_is_enough(tmp_path: Path) -> None:
    text = 'account_code,customer_id\n"G, 1",Ünïcode 7\n'
    assert read_links(written(tmp_path, text)) == [LinkLine(2, "Ünïcode 7", "", "G, 1")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("customer,account\na,b\n", "needs the columns", id="columns"),
        pytest.param("", "needs the columns", id="empty"),
        pytest.param("link,customer_id,account_id\nmaybe,a,b\n", "line 2: link says 'maybe'", id="neither-yes-nor-no"),
        pytest.param("customer_id,account_id\na,\n", "line 2", id="no-account"),
        pytest.param("customer_id,account_id\n,A1\n", "line 2", id="no-customer"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SetupError, match=words) as refused:
        read_links(written(tmp_path, text))
    assert refused.value.code == "MB-COMMAND"


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        read_links(tmp_path / "absent.csv")
    with pytest.raises(SetupError, match="not UTF-8"):
        read_links(written(tmp_path, "customer_id,account_id\nä,1\n", "latin-1"))


def test_what_is_written_is_the_owners_alone_read_back_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    row = dict.fromkeys(COLUMNS, "") | {"link": "yes", "customer_id": "-acme", "account_id": "A1"}
    write_links(path, [row | {"customer_name": "=1+1", "account_code": "=G"}])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "'=1+1" in path.read_text(encoding="utf-8")
    assert read_links(path) == [LinkLine(2, "-acme", "A1", "=G")]
    with pytest.raises(SetupError, match="there already"):
        write_links(path, [])
