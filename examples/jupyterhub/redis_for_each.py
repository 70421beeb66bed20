"""`RedisForEach`: a spawner hook that gives every user of a hub a Redis user, a prefix and an encryption key.

The hub's administrator makes one Redis user that may only create other users and run ``SCRIPT KILL``::

    ACL SETUSER hub on >PASSWORD -@all +acl|setuser +select +script|kill

and a secret that only the hub knows::

    python -c "import secrets; print(secrets.token_urlsafe(32))"

A user's password and encryption key are derived from that secret, so all servers of the user, now and later, have
the same ones, and the hub need not store them. Records in Redis are encrypted, and a user of the hub can read and
change only their own. (Every Redis user can list the names of all keys: Redis does not restrict SCAN.)
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from redis import asyncio as redis

#: The permissions that docs/token-stores.md gives each user.
RULES = "resetkeys resetchannels -@all +@connection -@dangerous +get +set +del +eval +scan"


class RedisForEach:
    """Hands out credentials: ``c.Spawner.pre_spawn_hook = RedisForEach(url, secret)``.

    Args:
        url: The Redis server's address, with the user that may create others: ``rediss://hub:PASSWORD@host:6379/0``.
        secret: Known only to the hub, at least 32 characters; a new secret gives all users new passwords and keys.

    Raises:
        ValueError: The secret is short, or the URL has the password where users would get it, too.
    """

    def __init__(self, url: str, secret: str) -> None:
        if len(secret) < 32:  # noqa: PLR2004
            raise ValueError("The secret must have at least 32 characters: all users' passwords are derived from it.")
        if {"username", "password"} & parse_qs(urlsplit(url).query).keys():
            raise ValueError("Write the user and the password before the host of the URL, and not into its query.")
        self._url = url
        self._secret = secret.encode()

    async def __call__(self, spawner: Any) -> None:
        """Create or update the user's Redis user, and pass the credentials to the user's server."""
        name, password = self._name(spawner.user.name), self._derived("password", spawner.user.name)
        rules = ["reset", "on", f">{password}", *RULES.split(), f"~{name}:*"]
        async with redis.Redis.from_url(self._url, socket_timeout=5, socket_connect_timeout=5) as admin:
            await admin.execute_command("ACL", "SETUSER", name, *rules)
        spawner.environment = {
            **spawner.environment,
            "PYWRY_OAUTH2__TOKEN_STORE_BACKEND": "redis",
            "PYWRY_OAUTH2__REDIS_URL": self._url_for(name, password),
            "PYWRY_OAUTH2__REDIS_PREFIX": name,
            "PYWRY_AUTH_ENCRYPTION_KEY": self._derived("encryption key", spawner.user.name),
        }

    @staticmethod
    def _name(user: str) -> str:
        """Return the name of a user's Redis user, also the prefix, without characters that mean something to Redis."""
        return f"pywry:{quote(user, safe='').replace('%', '=')}"

    def _derived(self, purpose: str, user: str) -> str:
        """Return 32 bytes for one purpose and one user, as text."""
        digest = hmac.new(self._secret, f"{purpose} {user}".encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(digest).decode()

    def _url_for(self, name: str, password: str) -> str:
        parts = urlsplit(self._url)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{quote(name, safe='')}:{quote(password, safe='')}@{host}").geturl()
