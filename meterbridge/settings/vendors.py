"""Settings of the two vendors, of where things are, of request budgets and of what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings

from meterbridge.settings.fields import Names, own, state_directory, vendor


class VendorSettings(BaseSettings):
    """Both vendors, places, budgets, reading."""

    # the two vendors
    chargebee_site: str = vendor("chargebee_site", "", about="Chargebee site name, as in https://SITE.chargebee.com.")
    chargebee_api_key: SecretStr = vendor(
        "chargebee_api_key", SecretStr(""), about="Chargebee API key (full access) of that site."
    )
    chargebee_base_url: str = vendor(
        "chargebee_base_url",
        "",
        about="Chargebee base URL, ends in /api/v2; default https://SITE.chargebee.com/api/v2.",
    )
    m3ter_org_id: str = vendor("m3ter_org_id", "", about="m3ter organisation id (UUID).")
    m3ter_api_key: SecretStr = vendor("m3ter_api_key", SecretStr(""), about="m3ter service user's access key id.")
    m3ter_api_secret: SecretStr = vendor("m3ter_api_secret", SecretStr(""), about="m3ter service user's API secret.")
    m3ter_base_url: str = vendor("m3ter_base_url", "https://api.m3ter.com", about="m3ter configuration API.")
    m3ter_ingest_url: str = vendor("m3ter_ingest_url", "https://ingest.m3ter.com", about="m3ter ingest API.")

    # where things are
    home: Path = own(
        "home",
        default_factory=state_directory,
        about="Directory of ledger and staging files; default the user's state directory.",
    )
    ledger_url: SecretStr | None = own(
        "ledger_url",
        None,
        about="Ledger database URL (postgresql+psycopg://…); default a SQLite file in METERBRIDGE_HOME.",
    )
    root: Path = own("root", Path(), about="Checkout or configuration directory; relative paths start here.")
    catalog: Path = own("catalog", Path("catalog.yaml"), about="Catalog map (YAML), relative to METERBRIDGE_ROOT.")
    connection: str = own(
        "connection",
        "default",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$",
        about="Name of this pair of site and organisation.",
    )
    log_level: Literal["auto", "DEBUG", "INFO", "WARNING", "ERROR"] = own(
        "log_level",
        "auto",
        about="Least level that is logged on stderr, by Prefect too; `auto` is INFO, and WARNING where a person looks.",
    )
    log_format: Literal["auto", "json", "text"] = own(
        "log_format", "auto", about="auto: text on a terminal, else JSON lines."
    )

    # request budgets
    chargebee_requests_per_minute: float = own(
        "chargebee_requests_per_minute", 150, gt=0, about="The site's limit, requests per minute."
    )
    m3ter_requests_per_second: float = own(
        "m3ter_requests_per_second", 50, gt=0, about="m3ter's limit on its configuration API, requests per second."
    )
    m3ter_ingest_requests_per_second: float = own(
        "m3ter_ingest_requests_per_second", 16, gt=0, about="m3ter's limit on its ingest API, requests per second."
    )
    request_reserve: float = own(
        "request_reserve", 0.1, ge=0, lt=1, about="Share of each limit left to your other applications (0.1 = a tenth)."
    )

    # what is read
    overlap_seconds: int = own(
        "overlap_seconds", 300, ge=0, about="How far each window steps back behind the watermark, seconds."
    )
    hold_back_seconds: int = own(
        "hold_back_seconds",
        300,
        ge=0,
        about="How far the watermark stays behind now: lists and events show late what happened; seconds.",
    )
    load_windows: int = own(
        "load_windows",
        4,
        ge=1,
        le=16,
        about="Windows of time read at once in a large full read "
        "(from 534 Chargebee requests a minute on); 1: one list.",
    )
    accounts_only: Names = own(
        "accounts_only", frozenset(), about="Only these Chargebee customer ids (comma-separated); empty = all."
    )
    accounts_except: Names = own(
        "accounts_except", frozenset(), about="Never these Chargebee customer ids (comma-separated)."
    )
    all_customers: bool = own(
        "all_customers", False, about="Also customers without a mapped subscription item become accounts."
    )

    @field_validator("chargebee_base_url")
    @classmethod
    def _ends_in_version(cls, value: str) -> str:
        if value and not value.rstrip("/").endswith("/api/v2"):
            raise ValueError("must end in /api/v2, as in https://SITE.chargebee.com/api/v2")
        return value

    @field_validator("accounts_only", "accounts_except", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return frozenset(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
