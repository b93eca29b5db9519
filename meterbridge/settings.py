"""Every setting, read once: environment, then ``.env``, then ``meterbridge.toml``.

Only this module reads the environment; everything else receives what it needs.
Vendor variables carry the vendor's prefix, all others ``METERBRIDGE_``; in
``meterbridge.toml`` the same names in lower case without ``METERBRIDGE_``.
``docs/reference/settings.md`` and ``.env.example`` list them; tests keep the
three in step.
"""

from __future__ import annotations

import difflib
import os
import sys
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticUndefined
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from meterbridge.errors import SetupError

PREFIXES = ("CHARGEBEE_", "M3TER_", "METERBRIDGE_", "PREFECT_")
"""Variables that the demo and the tests strip before they start."""

Names = Annotated[frozenset[str], NoDecode]


def _vendor(name: str, default: Any = PydanticUndefined, *, about: str, **limits: Any) -> Any:
    return Field(default, validation_alias=name.upper(), description=about, **limits)


def _own(name: str, default: Any = PydanticUndefined, *, about: str, **limits: Any) -> Any:
    return _vendor(f"METERBRIDGE_{name}", default, about=about, **limits)


class Settings(BaseSettings):
    """All settings. Times are seconds unless the name says otherwise; rates are per the unit named."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_file_encoding="utf-8")

    # the two vendors
    chargebee_site: str = _vendor("chargebee_site", "", about="Chargebee site name, as in https://SITE.chargebee.com.")
    chargebee_api_key: SecretStr = _vendor(
        "chargebee_api_key", SecretStr(""), about="Chargebee API key (full access) of that site."
    )
    chargebee_base_url: str = _vendor(
        "chargebee_base_url",
        "",
        about="Chargebee base URL, ends in /api/v2; default https://SITE.chargebee.com/api/v2.",
    )
    m3ter_org_id: str = _vendor("m3ter_org_id", "", about="m3ter organisation id (UUID).")
    m3ter_api_key: SecretStr = _vendor("m3ter_api_key", SecretStr(""), about="m3ter service user's access key id.")
    m3ter_api_secret: SecretStr = _vendor("m3ter_api_secret", SecretStr(""), about="m3ter service user's API secret.")
    m3ter_base_url: str = _vendor("m3ter_base_url", "https://api.m3ter.com", about="m3ter configuration API.")
    m3ter_ingest_url: str = _vendor("m3ter_ingest_url", "https://ingest.m3ter.com", about="m3ter ingest API.")

    # where things are
    home: Path = _own(
        "home",
        default_factory=lambda: state_directory(),
        about="Directory of ledger and staging files; default the user's state directory.",
    )
    ledger_url: SecretStr | None = _own(
        "ledger_url",
        None,
        about="Ledger database URL (postgresql+psycopg://…); default a SQLite file in METERBRIDGE_HOME.",
    )
    root: Path = _own("root", Path(), about="Checkout or configuration directory; relative paths start here.")
    catalog: Path = _own("catalog", Path("catalog.yaml"), about="Catalog map (YAML), relative to METERBRIDGE_ROOT.")
    connection: str = _own(
        "connection",
        "default",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$",
        about="Name of this pair of site and organisation.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _own(
        "log_level", "INFO", about="Least level that is logged."
    )
    log_format: Literal["auto", "json", "text"] = _own(
        "log_format", "auto", about="auto: text on a terminal, else JSON lines."
    )

    # request budgets
    chargebee_requests_per_minute: float = _own(
        "chargebee_requests_per_minute", 150, gt=0, about="The site's limit, requests per minute."
    )
    m3ter_requests_per_second: float = _own(
        "m3ter_requests_per_second", 50, gt=0, about="m3ter's limit on its configuration API, requests per second."
    )
    m3ter_ingest_requests_per_second: float = _own(
        "m3ter_ingest_requests_per_second", 16, gt=0, about="m3ter's limit on its ingest API, requests per second."
    )
    request_reserve: float = _own(
        "request_reserve", 0.1, ge=0, lt=1, about="Share of each limit left to your other applications (0.1 = a tenth)."
    )

    # what is read
    overlap_seconds: int = _own(
        "overlap_seconds", 300, ge=0, about="How far each window steps back behind the watermark, seconds."
    )
    hold_back_seconds: int = _own(
        "hold_back_seconds", 300, ge=0, about="How far each window stays behind now (lists lag), seconds."
    )
    accounts_only: Names = _own(
        "accounts_only", frozenset(), about="Only these Chargebee customer ids (comma-separated); empty = all."
    )
    accounts_except: Names = _own(
        "accounts_except", frozenset(), about="Never these Chargebee customer ids (comma-separated)."
    )
    all_customers: bool = _own(
        "all_customers", False, about="Also customers without a mapped subscription item become accounts."
    )

    # subscriptions
    hierarchy: Literal["invoice_owner", "all_with_child_billing", "off"] = _own(
        "hierarchy", "invoice_owner", about="Which accounts get a parent account."
    )
    trial: Literal["free", "billed"] = _own("trial", "free", about="Whether usage in a trial is billed.")
    replace_on: Literal["mapped_plan", "material", "any_change"] = _own(
        "replace_on", "material", about="Which changes end an account plan and start a new one."
    )
    on_product_overlap: Literal["quarantine", "child_account"] = _own(
        "on_product_overlap", "quarantine", about="Two subscriptions of a customer on one product."
    )
    placeholder_email_domain: str = _own(
        "placeholder_email_domain",
        "invalid.example",
        about="Domain of the placeholder for customers without an e-mail.",
    )

    # bills
    bills_since: date | None = _own(
        "bills_since",
        None,
        about="First bill date that may be charged (YYYY-MM-DD); required on the first bills run, then kept.",
    )
    bill_settle_hours: float = _own(
        "bill_settle_hours",
        24,
        ge=0,
        about="Hours after a bill's latest arrears service end before an unlocked bill is charged.",
    )
    bill_window_days: int = _own(
        "bill_window_days",
        62,
        ge=1,
        about="How far back bills are compared with the ledger, days (two billing cycles or more).",
    )
    rounding: Literal["half_up", "half_even"] = _own(
        "rounding", "half_up", about="Rounding of a bill's total; half_up is away from zero."
    )
    three_decimal_exponent: Literal[2, 3] | None = _own(
        "three_decimal_exponent",
        None,
        about="Decimal places Chargebee counts in for BHD, KWD, OMR, JOD, TND; unset = quarantined.",
    )
    bill_amounts: Literal["net", "gross"] = _own(
        "bill_amounts", "net", about="Whether m3ter's amounts are without or with tax."
    )
    charge_grouping: Literal["line", "aggregation", "product"] = _own(
        "charge_grouping", "line", about="How bill lines become charges."
    )
    max_invoice_lines: int = _own("max_invoice_lines", 700, ge=1, about="Most lines on one invoice.")
    max_wait_days: int = _own("max_wait_days", 35, ge=0, about="Longest wait for the next pending invoice, days.")
    term_tolerance_hours: float = _own(
        "term_tolerance_hours",
        36,
        ge=0,
        about="How much earlier than the service end a fitting invoice may be dated, hours.",
    )
    no_pending_invoice: Literal["quarantine"] = _own(
        "no_pending_invoice", "quarantine", about="What happens to money for which no pending invoice will come."
    )
    net_across_subscriptions: bool = _own(
        "net_across_subscriptions",
        False,
        about="Negative lines may be netted against another subscription of the bill.",
    )
    negative: Literal["quarantine", "promotional_credit"] = _own(
        "negative", "quarantine", about="What happens to a portion that is negative after netting."
    )
    negative_delta: Literal["net", "credit_note", "quarantine"] = _own(
        "negative_delta",
        "net",
        about="What happens to money that a closed invoice has too much of after a recalculation.",
    )
    on_void: Literal["hold", "recharge"] = _own(
        "on_void",
        "hold",
        about="Whether our lines that were voided, deleted or changed by hand wait for a person or are charged again.",
    )
    on_unapproved: Literal["keep", "remove"] = _own(
        "on_unapproved",
        "keep",
        about="Whether lines of a bill that is PENDING again stay on a pending invoice or are taken off.",
    )
    auto_close_days: int | None = _own(
        "auto_close_days",
        None,
        ge=0,
        le=50,
        about="Days after which the site closes pending invoices by itself; unset = by hand.",
    )
    schedule_interval_seconds: int = _own(
        "schedule_interval_seconds", 3600, ge=60, about="How often sync_bills is scheduled, seconds."
    )
    main_subscription: Annotated[dict[str, str], NoDecode] = _own(
        "main_subscription",
        default_factory=dict,
        about="customer id=subscription id pairs (comma-separated) for bill lines without a plan.",
    )
    charge_description: str = _own(
        "charge_description",
        "{product}: {quantity} {unit}, {start}–{end}",
        about="Template of a charge's description, printed on the invoice.",
    )

    # webhooks
    webhook_url: str = _own(
        "webhook_url", "", about="Public base URL of `meterbridge serve` (https://bridge.example.com)."
    )
    webhook_user: str = _own("webhook_user", "chargebee", about="User that Chargebee's webhooks authenticate with.")
    webhook_password: SecretStr = _own(
        "webhook_password", SecretStr(""), about="Password of Chargebee's webhooks; unset = its endpoint is closed."
    )
    webhook_m3ter_path: SecretStr = _own(
        "webhook_m3ter_path", SecretStr(""), about="Secret end of m3ter's webhook path; unset = its endpoint is closed."
    )
    webhook_m3ter_key: SecretStr = _own(
        "webhook_m3ter_key", SecretStr(""), about="Key in a header of m3ter's webhooks; unset = the path alone decides."
    )

    # usage
    usage_source_url: SecretStr | None = _own(
        "usage_source_url",
        None,
        about="Database URL (postgresql+psycopg://…) that usage mappings with a query read from.",
    )
    usage_file_from: int = _own(
        "usage_file_from",
        5_000_000,
        ge=1,
        about="From so many measurements on, usage goes to m3ter as file uploads instead of by its ingest API.",
    )

    # housekeeping
    deliver_threads: int = _own("deliver_threads", 8, ge=1, le=32, about="Requests under way at once while delivering.")
    keep_staging_days: int = _own(
        "keep_staging_days", 30, ge=1, about="Staging files older than this are pruned, days."
    )
    lease_seconds: int = _own(
        "lease_seconds", 60, ge=5, about="How long a run holds records it is sending, seconds, renewed."
    )

    @field_validator("accounts_only", "accounts_except", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return frozenset(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("main_subscription", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.split("=", 1) for part in value.split(",") if part.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("expected customer=subscription pairs, separated by commas")
        return {customer.strip(): subscription.strip() for customer, subscription in pairs}

    @property
    def chargebee_url(self) -> str:
        """Chargebee's base URL without a trailing slash."""
        return (self.chargebee_base_url or f"https://{self.chargebee_site}.chargebee.com/api/v2").rstrip("/")

    @property
    def catalog_path(self) -> Path:
        """The catalog map's absolute path."""
        return (self.root / self.catalog).expanduser().absolute()

    def secrets(self) -> list[str]:
        """The texts that must never be logged."""
        known = [
            self.chargebee_api_key,
            self.m3ter_api_key,
            self.m3ter_api_secret,
            self.ledger_url,
            self.usage_source_url,
        ]
        known += [self.webhook_password, self.webhook_m3ter_path, self.webhook_m3ter_key]
        return [secret.get_secret_value() for secret in known if secret is not None and secret.get_secret_value()]

    def require_vendors(self) -> None:
        """Raise SetupError naming every vendor setting that is still missing."""
        needed = ["chargebee_site", "chargebee_api_key", "m3ter_org_id", "m3ter_api_key", "m3ter_api_secret"]
        missing = [name.upper() for name in needed if str(_plain(getattr(self, name))) == ""]
        if missing:
            raise SetupError("MB-SETTING", f"{', '.join(missing)} not set")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - part of the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = InitSettingsSource(settings_cls, _by_variable(_toml()))
        return init_settings, env_settings, dotenv_settings, toml


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _root() -> Path:
    return Path(os.environ.get("METERBRIDGE_ROOT", ""))


def state_directory() -> Path:
    """The user's state directory for meterbridge, absolute, whatever the working directory."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "meterbridge"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local"))) / "meterbridge"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "meterbridge"


def variable(name: str) -> str:
    """The environment variable of a setting's field name."""
    return str(Settings.model_fields[name].validation_alias)


def load_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read all sources.

    Raises:
        SetupError: MB-SETTING, naming each wrong or unknown variable, never its value.
    """
    try:
        _refuse_unknown_names()
        return Settings(_env_file=_root() / ".env", **_by_variable(overrides or {}))
    except ValidationError as failure:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in failure.errors(include_input=False)
        )
        raise SetupError("MB-SETTING", wrong) from None
    except (OSError, ValueError) as failure:
        raise SetupError(
            "MB-SETTING", f"meterbridge.toml or .env cannot be read: {type(failure).__name__}"
        ) from failure


def _refuse_unknown_names() -> None:
    variables = {variable(name) for name in Settings.model_fields}
    in_file = set(_toml())
    own = {name for name in os.environ if name.startswith("METERBRIDGE_") and not name.startswith("METERBRIDGE_TEST_")}
    for name, known in [*((n, variables) for n in own), *((n, set(Settings.model_fields)) for n in in_file)]:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SetupError("MB-SETTING", f"{name} is not a setting{hint}")


def _by_variable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {variable(name): value for name, value in values.items()}


def _toml() -> dict[str, Any]:
    path = _root() / "meterbridge.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def stripped_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without any vendor's, our own or Prefect's variables."""
    return {name: value for name, value in environment.items() if not name.startswith(PREFIXES)}


def use_environment(values: Mapping[str, str]) -> None:
    """Replace this process's vendor, own and Prefect variables by these alone; for the demo and the tests."""
    kept = stripped_environment(os.environ)
    for name in set(os.environ) - set(kept):
        del os.environ[name]
    os.environ.update(values)
