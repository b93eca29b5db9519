"""Settings of webhooks and of usage."""

from __future__ import annotations

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from meterbridge.settings.fields import own


class UsageSettings(BaseSettings):
    """Webhooks, usage."""

    # webhooks
    webhook_url: str = own(
        "webhook_url", "", about="Public base URL of `meterbridge serve` (https://bridge.example.com)."
    )
    webhook_user: str = own("webhook_user", "chargebee", about="User that Chargebee's webhooks authenticate with.")
    webhook_password: SecretStr = own(
        "webhook_password", SecretStr(""), about="Password of Chargebee's webhooks; unset = its endpoint is closed."
    )
    webhook_m3ter_path: SecretStr = own(
        "webhook_m3ter_path", SecretStr(""), about="Secret end of m3ter's webhook path; unset = its endpoint is closed."
    )
    webhook_m3ter_key: SecretStr = own(
        "webhook_m3ter_key", SecretStr(""), about="Key in a header of m3ter's webhooks; unset = the path alone decides."
    )

    # usage
    usage_source_url: SecretStr | None = own(
        "usage_source_url",
        None,
        about="Database URL (postgresql+psycopg://…) that usage mappings with a query read from.",
    )
    usage_file_from: int = own(
        "usage_file_from",
        5_000_000,
        ge=1,
        about="From so many measurements on, usage goes to m3ter as file uploads instead of by its ingest API.",
    )
