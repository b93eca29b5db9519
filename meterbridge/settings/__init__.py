"""Every setting, read once: environment, then ``.env``, then ``meterbridge.toml``.

Only this package reads the environment; everything else receives what it needs.
Vendor variables carry the vendor's prefix, all others ``METERBRIDGE_``; in
``meterbridge.toml`` the same names in lower case without ``METERBRIDGE_``.
``docs/reference/settings.md`` and ``.env.example`` list them; tests keep the
three in step.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from meterbridge.errors import SetupError
from meterbridge.redaction import register_secret
from meterbridge.settings.bills import BillSettings
from meterbridge.settings.fields import state_directory
from meterbridge.settings.gate import GateSettings
from meterbridge.settings.housekeeping import HousekeepingSettings
from meterbridge.settings.subscriptions import SubscriptionSettings
from meterbridge.settings.usage import UsageSettings
from meterbridge.settings.vendors import VendorSettings

__all__ = [
    "PREFIXES",
    "Settings",
    "load_settings",
    "refuse_all_but_loopback",
    "state_directory",
    "stripped_environment",
    "use_environment",
    "variable",
]

PREFIXES = ("CHARGEBEE_", "M3TER_", "METERBRIDGE_", "PREFECT_")
"""Variables that the demo and the tests strip before they start."""


NEEDED: dict[str, tuple[str, ...]] = {
    "chargebee": ("chargebee_site", "chargebee_api_key"),
    "m3ter": ("m3ter_org_id", "m3ter_api_key", "m3ter_api_secret"),
}
"""What a vendor cannot be asked without."""


class Settings(VendorSettings, SubscriptionSettings, BillSettings, GateSettings, UsageSettings, HousekeepingSettings):
    """All settings. Times are seconds unless the name says otherwise; rates are per the unit named."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_file_encoding="utf-8")

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
        if missing := [*self.missing("chargebee"), *self.missing("m3ter")]:
            raise SetupError("MB-SETTING", f"{', '.join(missing)} not set")

    def missing(self, vendor: Literal["chargebee", "m3ter"]) -> list[str]:
        """The variables without which the vendor cannot be asked and that are not set."""
        return [name.upper() for name in NEEDED[vendor] if str(_plain(getattr(self, name))) == ""]

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


def variable(name: str) -> str:
    """The environment variable of a setting's field name."""
    return str(Settings.model_fields[name].validation_alias)


def load_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read all sources. What is secret in them is masked from then on, in every log and error of this process.

    Raises:
        SetupError: MB-SETTING, naming each wrong or unknown variable, never its value.
    """
    # Every task asks, and to read them anew takes twenty milliseconds: equal sources are the same settings.
    settings = _read(overrides) if overrides else _read_once()
    for secret in settings.secrets():
        register_secret(secret)
    return settings


_read_before: dict[bytes, Settings] = {}
"""The settings that were read last, by the digest of their sources: no value of a source stays in memory."""


def _read_once() -> Settings:
    sources = _digest()
    if sources not in _read_before:
        settings = _read({})
        _read_before.clear()
        _read_before[sources] = settings
        return settings
    return _read_before[sources]


def _digest() -> bytes:
    files = [_bytes(_root() / name) for name in (".env", "meterbridge.toml")]
    given = (sorted(os.environ.items()), files)
    return hashlib.sha256(repr(given).encode("utf-8", "surrogateescape")).digest()


def _bytes(path: Path) -> bytes | str:
    try:
        return path.read_bytes()
    except OSError as failure:
        return type(failure).__name__


def _read(overrides: Mapping[str, Any]) -> Settings:
    try:
        _refuse_unknown_names()
        return Settings(_env_file=_root() / ".env", **_by_variable(overrides))
    except ValidationError as failure:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in failure.errors(include_input=False)
        )
        raise SetupError("MB-SETTING", wrong) from None
    except (OSError, ValueError) as failure:
        raise SetupError(
            "MB-SETTING", f"meterbridge.toml or .env cannot be read: {type(failure).__name__}"
        ) from failure


_NEAR = 0.85


def _refuse_unknown_names() -> None:
    variables = {variable(name) for name in Settings.model_fields}
    in_file = set(_toml())
    given = {**dotenv_values(_root() / ".env"), **os.environ}
    own = {name for name in given if name.startswith("METERBRIDGE_") and not name.startswith("METERBRIDGE_TEST_")}
    for name, known in [*((n, variables) for n in own), *((n, set(Settings.model_fields)) for n in in_file)]:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SetupError("MB-SETTING", f"{name} is not a setting{hint}")
    for name in sorted(name for name in given if name.startswith(("CHARGEBEE_", "M3TER_")) and name not in variables):
        # Other programs have variables of their own there: one that is near to ours is meant for us if ours is not set.
        near = [each for each in difflib.get_close_matches(name, variables, n=1, cutoff=_NEAR) if each not in given]
        if near:
            raise SetupError("MB-SETTING", f"{name} is not a setting; did you mean {near[0]}?")


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


def refuse_all_but_loopback(settings: Settings) -> None:
    """Raise SetupError MB-LOOPBACK unless every vendor URL is on this machine."""
    for url in (settings.chargebee_url, settings.m3ter_base_url, settings.m3ter_ingest_url):
        if urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost"):
            raise SetupError("MB-LOOPBACK", f"{url} is not a loopback address")
