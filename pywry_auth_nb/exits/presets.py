"""What `session.serve` can be asked for, and what each preset means: variables, files and paths of the endpoint.

A preset that cannot work says so when it is called, as far as that can be known without a request.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .._io.proxies import is_used
from .._io.urls import is_safe
from ..errors import ConfigurationError
from ..tokens import bearer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .holder import TokenKind

Via = Literal["endpoint", "file"]

ACCESS: TokenKind = "access_token"
ID: TokenKind = "id_token"
#: The file of each preset that wants one, in the folder of this kernel, and the variable that names it.
_ID_TOKEN_FILES = {
    "anthropic": ("ANTHROPIC_IDENTITY_TOKEN_FILE", {}),
    "databricks": ("DATABRICKS_OIDC_TOKEN_FILEPATH", {"DATABRICKS_AUTH_TYPE": "file-oidc"}),
}
_NEEDED = {"anthropic": ("ANTHROPIC_FEDERATION_RULE_ID", "ANTHROPIC_ORGANIZATION_ID")}
#: Variables that clients prefer to what a preset sets, so that it would have no effect.
_PREFERRED = {
    "aws": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
    "aws endpoint": ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"),
    "databricks": (),
}
#: AWS's own files, the variables that name others, and what in their default profile comes before an endpoint.
_AWS_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
_AWS_SOURCES = ("aws_access_key_id", "credential_process", "login_session", "role_arn", "sso_session", "sso_start_url")
_ARN = re.compile(r"arn:[\w-]*:[\w-]+:[\w-]*:[\w-]*:role/[\w+=,.@/-]+", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_SHORTEST, _LONGEST = 900, 43_200  # seconds that AWS allows
_GOOGLE_TOKEN_URL = "https://sts.googleapis.com/v1/token"  # noqa: S105 - an address
_GOOGLE_TYPES = {
    ACCESS: "urn:ietf:params:oauth:token-type:jwt",
    ID: "urn:ietf:params:oauth:token-type:id_token",
}
_IMPERSONATION = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{}:generateAccessToken"


@dataclass(frozen=True)
class Role:
    """A role of AWS, MinIO or Ceph, whose temporary keys are exchanged for a token (AssumeRoleWithWebIdentity).

    Args:
        arn: The role's name, such as ``"arn:aws:iam::123456789012:role/reader"``. MinIO needs none if a claim of the
            token names the policy.
        sts: The address of the token service, such as ``"https://minio.example.org"``; that of AWS, in the region of
            ``AWS_REGION``, or of ``AWS_ENDPOINT_URL_STS``, when left out.
        token: Which token is exchanged.
        seconds: How long the keys are good, 900 to 43200.
        session_name: What the service's log calls the holder.
        via: ``"endpoint"``: the kernel exchanges the token, once for all programs, which get temporary keys.
            ``"file"``: each program reads the token from a file and exchanges it.

    Raises:
        ConfigurationError: Code ``preset_unavailable``.
    """

    arn: str = ""
    sts: str = ""
    token: TokenKind = ID
    seconds: int = 3600
    session_name: str = "pywry-auth"
    via: Via = "endpoint"

    def __post_init__(self) -> None:
        if self.arn and not _ARN.fullmatch(self.arn):
            raise _unavailable("A role's arn looks like 'arn:aws:iam::123456789012:role/reader'.")
        if not self.arn and (not self.sts or self.via == "file"):
            raise _unavailable("A role needs its arn. (MinIO can do without one, via='endpoint' and with its sts.)")
        if not _SESSION_NAME.fullmatch(self.session_name) or not _SHORTEST <= self.seconds <= _LONGEST:
            raise _unavailable("A role needs a session_name of 2 to 64 letters and digits, and 900 to 43200 seconds.")
        _check_choice("token", self.token, (ACCESS, ID))
        _check_choice("via", self.via, ("endpoint", "file"))

    @property
    def endpoint(self) -> str:
        """The address of the token service."""
        sts = self.sts or os.environ.get("AWS_ENDPOINT_URL_STS", "")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not sts and not self.arn.startswith("arn:aws:"):
            raise _unavailable(f"Say where the token service of {self.arn} is: Role(…, sts='https://…').")
        sts = sts or (f"https://sts.{region}.amazonaws.com" if region else "https://sts.amazonaws.com")
        if not is_safe(sts):
            raise _unavailable("The token service must have an https:// address, or be on this machine.")
        return sts


@dataclass(frozen=True)
class Audience:
    """A provider of Google's workload identity federation, at which a token is exchanged.

    Args:
        name: Such as ``"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/POOL/providers/NAME"``.
        service_account: The e-mail address of a service account to act as, if the pool's users may not act themselves.
        token: Which token is exchanged: the ID token, or an access token that is a JWT.
        via: Whether Google's clients ask the endpoint for the token or read it from a file.
        sts: The address of Google's token service.

    Raises:
        ConfigurationError: Code ``preset_unavailable``.
    """

    name: str
    service_account: str = ""
    token: TokenKind = ID
    via: Via = "endpoint"
    sts: str = _GOOGLE_TOKEN_URL

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.startswith("//"):
            raise _unavailable("An audience looks like '//iam.googleapis.com/projects/…/providers/…'.")
        if self.service_account and not re.fullmatch(r"[\w.@-]+", self.service_account, re.ASCII):
            raise _unavailable("A service account is an e-mail address.")
        if not is_safe(self.sts):
            raise _unavailable("The token service must have an https:// address, or be on this machine.")
        _check_choice("token", self.token, (ACCESS, ID))
        _check_choice("via", self.via, ("endpoint", "file"))

    def configuration(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """Return the file that ``GOOGLE_APPLICATION_CREDENTIALS`` names."""
        account = {"service_account_impersonation_url": _IMPERSONATION.format(self.service_account)}
        return {
            "type": "external_account",
            "audience": self.name,
            "subject_token_type": _GOOGLE_TYPES[self.token],
            "token_url": self.sts,
            "credential_source": dict(source),
        } | (account if self.service_account else {})


@dataclass(frozen=True)
class Place:
    """Where a kernel serves: the endpoint's address, its key, and the private folder."""

    url: str
    key: str = field(repr=False)
    folder: Path = field(default_factory=Path)

    @property
    def key_file(self) -> Path:
        """The file with the key."""
        return self.folder / "key"


@dataclass
class Plan:
    """What a call of ``session.serve`` means.

    Attributes:
        names: The presets, for people.
        environment: The variables; none is secret.
        files: Which token is in which file.
        settings: Other files of the folder, as JSON, by their names.
        role: The role whose keys the endpoint gives out, if any.
        google: Which token the endpoint gives to Google's clients, if any.
    """

    names: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    files: dict[Path, TokenKind] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    role: Role | None = None
    google: TokenKind | None = None

    @property
    def needs_id_token(self) -> bool:
        """Whether a preset cannot work without an ID token."""
        exchanged = [self.google, self.role.token if self.role else None, *self.files.values()]
        return ID in exchanged


def plan_for(place: Place, *, aws: Role | None, google: Audience | None, anthropic: bool, databricks: bool) -> Plan:
    """Return what the presets mean at ``place``.

    Raises:
        ConfigurationError: Code ``preset_unavailable``.
    """
    plan = Plan(environment={"PYWRY_AUTH_URL": place.url, "PYWRY_AUTH_KEY_FILE": str(place.key_file)})
    if aws is not None:
        _add_aws(plan, place, _one_of(aws, Role, "aws"))
    if google is not None:
        _add_google(plan, place, _one_of(google, Audience, "google"))
    for name in [name for name, wanted in (("anthropic", anthropic), ("databricks", databricks)) if wanted]:
        _add_id_token_file(plan, place, name)
    if is_used("http", "127.0.0.1", 80):
        plan.environment |= _without_proxy()
    return plan


def add_files(plan: Plan, files: Collection[Any] | Mapping[Any, TokenKind], usable: Callable[[Any], Path]) -> None:
    """Add files that a user names: paths for access tokens, or which token goes to which path.

    Raises:
        ConfigurationError: Code ``preset_unavailable``.
    """
    if isinstance(files, (str, os.PathLike)):
        files = [files]
    kinds: dict[Any, Any] = dict(files) if isinstance(files, Mapping) else dict.fromkeys(files, ACCESS)
    for path, kind in kinds.items():
        _check_choice(f"files[{str(path)!r}]", kind, (ACCESS, ID))
        plan.files[usable(path)] = kind


def _add_aws(plan: Plan, place: Place, role: Role) -> None:
    _refuse_preferred("aws")
    plan.names.append("aws")
    endpoint = role.endpoint
    if role.via == "endpoint":
        _refuse_preferred("aws endpoint")
        _refuse_default_profile()
        plan.role = role
        plan.environment |= {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{place.url}/aws",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(place.key_file),
        }
        return
    file = place.folder / "aws-token"
    plan.files[file] = role.token
    plan.environment |= {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        "AWS_ROLE_ARN": role.arn,
        "AWS_ROLE_SESSION_NAME": role.session_name,
        "AWS_ENDPOINT_URL_STS": endpoint,
    }


def _add_google(plan: Plan, place: Place, audience: Audience) -> None:
    plan.names.append("google")
    if audience.via == "endpoint":
        plan.google = audience.token
        source: dict[str, Any] = {
            "url": f"{place.url}/google",
            "headers": {"Authorization": bearer(place.key)},
            "format": {"type": "json", "subject_token_field_name": "token"},
        }
    else:
        file = place.folder / "google-token"
        plan.files[file] = audience.token
        source = {"file": str(file), "format": {"type": "text"}}
    plan.settings["google.json"] = audience.configuration(source)
    plan.environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(place.folder / "google.json")


def _add_id_token_file(plan: Plan, place: Place, name: str) -> None:
    _refuse_preferred(name)
    missing = [variable for variable in _NEEDED.get(name, ()) if not os.environ.get(variable)]
    if missing:
        raise _unavailable(f"The clients of {name} also need {' and '.join(missing)}. Set these variables first.")
    variable, others = _ID_TOKEN_FILES[name]
    file = place.folder / f"{name}-token"
    plan.names.append(name)
    plan.files[file] = ID
    plan.environment |= {variable: str(file), **others}


def _without_proxy() -> dict[str, str]:
    """Return variables that keep requests to this machine, with the key in them, away from the proxy."""
    named = next((os.environ[name] for name in ("no_proxy", "NO_PROXY") if os.environ.get(name)), "")
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(filter(None, [named, "127.0.0.1"])))


def _refuse_preferred(name: str) -> None:
    found = next((variable for variable in _PREFERRED[name] if os.environ.get(variable)), None)
    if found is not None:
        raise _unavailable(f"{found} is set, which clients prefer to what would be served. Remove it first.")


def _refuse_default_profile() -> None:
    """Refuse what AWS clients would prefer to an endpoint, without a word."""
    for variable, usual in _AWS_FILES.items():
        file = Path(os.environ.get(variable) or usual).expanduser()
        profiles = configparser.RawConfigParser(strict=False, default_section="")
        try:
            profiles.read_string(file.read_text("utf-8"))
        except (OSError, ValueError, configparser.Error):
            continue
        if profiles.has_section("default") and any(profiles.has_option("default", name) for name in _AWS_SOURCES):
            raise _unavailable(
                f"{file} has credentials in its default profile, which clients prefer to an endpoint. Remove them, or "
                "say Role(…, via='file'), which comes first."
            )


def _one_of(value: Any, kind: type[Any], name: str) -> Any:
    if not isinstance(value, kind):
        raise _unavailable(f"{name} must be a {kind.__name__}: from pywry_auth_nb import {kind.__name__}.")
    return value


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise _unavailable(f"{name} must be {' or '.join(map(repr, choices))}.")


def _unavailable(message: str) -> ConfigurationError:
    return ConfigurationError(message, code="preset_unavailable")
