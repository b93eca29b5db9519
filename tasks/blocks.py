"""Prefect blocks that may hold the vendors' credentials; the environment wins over them."""

from __future__ import annotations

import logging
from typing import Any

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from meterbridge.settings import Settings

logger = logging.getLogger(__name__)


class ChargebeeCredentials(Block):
    """A Chargebee site and its API key. Name the block after the connection, such as ``default``."""

    _block_type_name = "Chargebee credentials"
    _block_type_slug = "chargebee-credentials"
    site: str = Field(description="Site name, as in https://SITE.chargebee.com.")
    api_key: SecretStr = Field(description="API key (full access).")


class M3terCredentials(Block):
    """An m3ter organisation and a service user's access key. Name the block after the connection."""

    _block_type_name = "m3ter credentials"
    _block_type_slug = "m3ter-credentials"
    org_id: str = Field(description="Organisation id (UUID).")
    api_key: SecretStr = Field(description="Access key id.")
    api_secret: SecretStr = Field(description="API secret.")


def credentials(settings: Settings) -> dict[str, Any]:
    """Settings that are missing and that a block named after the connection has; asks Prefect only then."""
    found: dict[str, Any] = {}
    if not settings.chargebee_api_key.get_secret_value():
        block = _load(ChargebeeCredentials, settings.connection)
        if isinstance(block, ChargebeeCredentials):
            found |= {"chargebee_site": settings.chargebee_site or block.site, "chargebee_api_key": block.api_key}
    if not settings.m3ter_api_secret.get_secret_value():
        block = _load(M3terCredentials, settings.connection)
        if isinstance(block, M3terCredentials):
            found |= {
                "m3ter_org_id": settings.m3ter_org_id or block.org_id,
                "m3ter_api_key": block.api_key,
                "m3ter_api_secret": block.api_secret,
            }
    return found


def _load(kind: type[Block], name: str) -> Block | None:
    try:
        found = kind.load(name)
    except ValueError:  # Prefect's word for "no such block"
        return None
    return found if isinstance(found, Block) else None
