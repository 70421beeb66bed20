"""`RedisForEach`: a spawner hook that gives every user of a hub a Redis user, a prefix and an encryption key.

The hub's administrator makes one Redis user that may do nothing but make others, and ``SCRIPT KILL``::

    ACL SETUSER hub on >PASSWORD -@all +acl|setuser +select +script|kill

and a secret that only the hub knows::

    python -c "import secrets; print(secrets.token_urlsafe(32))"

A user's password and encryption key are derived from that secret, so every server of the user, and every later one, has
the same, and nothing has to be stored. Whoever reads the Redis finds encrypted records; whoever is a user of the hub
can read and change their own alone. (The names of all keys can be listed by everybody: Redis does not restrict SCAN.)
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from redis import asyncio as redis

#: What docs/token-stores.md allows the user of one person.
RULES = "resetkeys resetchannels -@all +@connection -@dangerous +get +set +del +eval +scan"


class RedisForEach:
    """Hands out credentials: ``c.Spawner.pre_spawn_hook = RedisForEach(url, secret)``.

    Args:
        url: Where the Redis server is, with the user that may make others: ``rediss://hub:PASSWORD@host:6379/0``.
        secret: Known to the hub alone, of 32 characters at least; a new one gives everybody a new password and key.

    Raises:
        ValueError: The secret is short, or the URL has the password where users would get it, too.
    """

    def __init__(self, url: str, secret: str) -> None:
        if len(secret) < 32:  # noqa: PLR2004
            raise ValueError("The secret must have 32 characters at least: everybody's password is made from it.")
        if {"username", "password"} & parse_qs(urlsplit(url).query).keys():
            raise ValueError("Write the user and the password before the host of the URL, and not into its query.")
        self._url = url
        self._secret = secret.encode()

    async def __call__(self, spawner: Any) -> None:
        """Make the user's Redis user, or set it right, and tell the user's server."""
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
        """Return the name of a user's Redis user, and of its keys: one without a character that Redis would read."""
        return f"pywry:{quote(user, safe='').replace('%', '=')}"

    def _derived(self, purpose: str, user: str) -> str:
        """Return 32 bytes for one purpose and one user, as text."""
        digest = hmac.new(self._secret, f"{purpose} {user}".encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(digest).decode()

    def _url_for(self, name: str, password: str) -> str:
        parts = urlsplit(self._url)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{quote(name, safe='')}:{quote(password, safe='')}@{host}").geturl()
