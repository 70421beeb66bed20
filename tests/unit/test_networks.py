"""Networks of companies: their certificates, their proxies, and what is said of a connection that cannot be made."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import pytest
import trustme
import truststore
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pywry_auth_nb import (
    AuthenticationError,
    AuthFlowManager,
    ConfigurationError,
    GenericOIDCProvider,
    MemoryTokenStore,
    SessionManager,
    TokenError,
    TokenRefreshError,
)
from pywry_auth_nb._io import proxies, tls
from pywry_auth_nb._io.http import HttpClient
from pywry_auth_nb._io.loop import get_loop, run
from pywry_auth_nb._wire.error_codes import NETWORK_ERRORS
from tests.conftest import sign_in
from tests.support.cases import case
from tests.support.clients import once
from tests.support.idp import CLIENT, Idp
from tests.support.networks import PASSWORD, QUOTED, Company, HttpProxy, SocksProxy, TlsFront, serve_tls
from tests.support.ports import free_port
from tests.support.waiting import patience

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIN = "https://login.corp.invalid"  # has no address: only a proxy leads there
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies and without certificates of its own."""
    for name in list(os.environ):
        if name.lower() in PROXIES or name in tls.VARIABLES:
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def company(idp: Idp) -> Company:
    """A network in which the provider is called ``login.corp.invalid``."""
    idp.issuer = LOGIN
    return Company(idp)


@pytest.fixture
def ca(company: Company, tmp_path: Path) -> str:
    """The file of the company's root certificate."""
    return company.certificate(tmp_path)


@pytest.fixture
def proxy(company: Company, env: pytest.MonkeyPatch) -> Iterator[HttpProxy]:
    """The only way out: a proxy that reads TLS."""
    with HttpProxy(company) as proxy:
        env.setenv("HTTPS_PROXY", proxy.address)
        yield proxy


@pytest.fixture
def socks(company: Company, ca: str, env: pytest.MonkeyPatch) -> Iterator[SocksProxy]:
    """A SOCKS5 proxy that leads to the provider; its network's certificate is known."""
    env.setenv("SSL_CERT_FILE", ca)
    with SocksProxy(company) as proxy:
        env.setenv("ALL_PROXY", proxy.address)
        yield proxy


def new_session(issuer: str = LOGIN) -> SessionManager:
    """A session of a provider that was not asked yet."""
    return SessionManager(GenericOIDCProvider(CLIENT, issuer_url=issuer), MemoryTokenStore())


def signs_in(session: SessionManager, idp: Idp) -> SessionManager:
    """Sign in, and renew the token once."""
    sign_in(AuthFlowManager(session.provider, session_manager=session), idp)
    old = session.access_token
    asyncio.run(session.refresh())
    assert session.access_token != old
    return session


def refused(url: str = LOGIN, deadline: float = 8) -> AuthenticationError:
    """The error for a request."""
    with pytest.raises(AuthenticationError) as caught:
        run(once(HttpClient(deadline=deadline), f"{url}/.well-known/openid-configuration"), 20)
    assert "CANARY" not in f"{caught.value} {caught.value!r} {caught.value.context}"
    return caught.value


# -- certificates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", tls.VARIABLES)
def test_signing_in_where_tls_is_inspected(
    idp: Idp, proxy: HttpProxy, ca: str, env: pytest.MonkeyPatch, variable: str
) -> None:
    """N1: each variable may name the company's certificate: begin, complete and refresh go through its proxy."""
    env.setenv(variable, ca)
    session = signs_in(new_session(), idp)

    assert session.user is not None
    assert set(proxy.asked) == {"login.corp.invalid:443"}
    assert idp.requests_to("/token") == 2


@pytest.mark.parametrize("variable", tls.VARIABLES)
def test_a_folder_of_certificates(
    idp: Idp, proxy: HttpProxy, ca: str, tmp_path: Path, env: pytest.MonkeyPatch, variable: str
) -> None:
    """N1: a variable may name folders, as OpenSSL reads them; one that is not there does no harm."""
    folder = rehashed(tmp_path / "certs", ca)
    env.setenv(variable, f"{tmp_path}/gone{os.pathsep}{folder}")

    signs_in(new_session(), idp)


def rehashed(folder: Path, ca: str) -> Path:
    """Make a folder with a certificate under the name by which OpenSSL finds it."""
    folder.mkdir()
    command = ["openssl", "x509", "-in", ca, "-noout", "-subject_hash"]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (folder / f"{name}.0").write_bytes(Path(ca).read_bytes())
    return folder


def test_the_system_s_certificates(idp: Idp, proxy: HttpProxy, ca: str, env: pytest.MonkeyPatch) -> None:
    """N1: a certificate that the system trusts is trusted without any variable."""
    system_has(env, ca)

    signs_in(new_session(), idp)


def system_has(env: pytest.MonkeyPatch, *files: str) -> None:
    """Let the system have these certificates alone."""
    nothing = ssl.DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "/none", "SSL_CERT_DIR", "/none")
    env.setattr("ssl.get_default_verify_paths", lambda: nothing)
    env.setattr("truststore._openssl._CA_FILE_CANDIDATES", list(files))
    env.setattr(tls, "_contexts", {})


def test_a_system_without_certificates(idp: Idp, proxy: HttpProxy, ca: str, env: pytest.MonkeyPatch) -> None:
    """N1: in a slim container certifi's certificates are trusted."""
    system_has(env)
    env.setattr(certifi, "where", lambda: ca)

    signs_in(new_session(), idp)


def test_a_certificate_that_is_not_known(idp: Idp, proxy: HttpProxy) -> None:
    """N1, N3: it is said that it is the certificate, which variables would help, and which proxy showed it."""
    error = refused()

    assert error.code == "certificate"
    for word in (
        "login.corp.invalid",
        "authority",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "this system",
        proxy.address,
    ):
        assert word in str(error)
    assert idp.requests == []


def test_the_first_variable_decides(
    idp: Idp, proxy: HttpProxy, ca: str, tmp_path: Path, env: pytest.MonkeyPatch
) -> None:
    """What an earlier variable names is trusted alone, and the error names it."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    for variable in reversed(tls.VARIABLES):
        with case(variable):
            env.setenv(variable, str(other))
            error = refused()

            assert (error.code, f"{variable} ({other})" in str(error)) == ("certificate", True)
            env.setenv(variable, ca)
            run(once(HttpClient(), f"{LOGIN}/jwks"), 20)


def test_a_variable_that_is_set_in_the_notebook(
    idp: Idp, proxy: HttpProxy, ca: str, tmp_path: Path, env: pytest.MonkeyPatch
) -> None:
    """The same session signs in once the variable is right, or its file: without a restart."""
    bundle = tmp_path / "bundle.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    session = new_session()
    for correct in (
        lambda: env.setenv("SSL_CERT_FILE", str(bundle)),
        lambda: bundle.write_bytes(Path(ca).read_bytes()),
    ):
        with pytest.raises(TokenError) as caught:
            signs_in(session, idp)
        assert caught.value.code == "certificate"
        correct()

    signs_in(session, idp)


STALE = {
    "missing": (lambda _: None, "does not exist"),
    "below a file": (lambda path: path.parent.write_text("x"), "cannot be read"),
    "no certificates": (lambda path: path.write_text("-----BEGIN NOTHING-----\n"), "not a file of PEM"),
    "empty": (lambda path: path.touch(), "not a file of PEM"),
    "DER": (lambda path: path.write_bytes(der()), "not a file of PEM"),
    "a folder without hashed names": (lambda path: path.mkdir(), "openssl rehash"),
}


def der() -> bytes:
    """A certificate that is not PEM."""
    return x509.load_pem_x509_certificate(trustme.CA().cert_pem.bytes()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("variable", tls.VARIABLES)
def test_a_stale_variable(tmp_path: Path, env: pytest.MonkeyPatch, variable: str) -> None:
    """N2: a variable that names nothing useful is an error of the configuration, which says what to do."""
    for name, (make, words) in STALE.items():
        with case(name):
            path = tmp_path / name / "corp.pem"
            if name != "below a file":
                path.parent.mkdir(exist_ok=True)
            make(path)
            env.setenv(variable, str(path))
            error = refused()

            assert isinstance(error, ConfigurationError)
            assert error.code == "configuration"
            for word in (variable, str(path), words, "unset"):
                assert word in error.message


def test_a_variable_with_a_certificate_in_it(env: pytest.MonkeyPatch) -> None:
    """N2: what is no path at all, or a path that the system refuses to look at, is such an error, too."""
    pasted = trustme.CA().cert_pem.bytes().decode()
    for value, words in ((pasted, "is not the path of a file"), (f"/{'x' * 300}/corp.pem", "cannot be read")):
        env.setenv("REQUESTS_CA_BUNDLE", value)
        error = refused()

        assert isinstance(error, ConfigurationError)
        assert error.message.startswith("REQUESTS_CA_BUNDLE ")
        assert words in error.message
        assert "BEGIN" not in error.message


def test_plain_http_needs_no_certificates(idp: Idp, env: pytest.MonkeyPatch) -> None:
    """A stale variable and a broken proxy do not disturb a provider on this machine."""
    env.setenv("SSL_CERT_FILE", "/nowhere/corp.pem")
    env.setenv("HTTP_PROXY", "gopher://x")

    signs_in(new_session(idp.issuer), idp)


def issued(**options: Any) -> tuple[trustme.CA, trustme.LeafCert]:
    """An authority, and a certificate of it."""
    authority = trustme.CA()
    return authority, authority.issue_cert(options.pop("host", "127.0.0.1"), **options)


NOW = dt.datetime.now(dt.timezone.utc)
UNTRUSTED = {
    "it has expired": {"not_before": NOW - dt.timedelta(9), "not_after": NOW - dt.timedelta(1)},
    "it is not valid yet": {"not_before": NOW + dt.timedelta(1), "not_after": NOW + dt.timedelta(9)},
    "it is for another host": {"host": "www.example.org"},
}


@pytest.mark.parametrize("reason", UNTRUSTED)
def test_what_is_wrong_with_a_certificate(tmp_path: Path, env: pytest.MonkeyPatch, reason: str) -> None:
    """N3: the message says in a few words why a certificate is not trusted; the provider hears nothing."""
    authority, certificate = issued(**UNTRUSTED[reason])
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    env.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    idp = Idp()
    issuer = serve_tls(idp, certificate)
    with idp:
        error = refused(issuer)

        assert (error.code, reason in error.message) == ("certificate", True)
        assert idp.requests == []


def test_an_intermediate_authority_is_enough(tmp_path: Path, env: pytest.MonkeyPatch) -> None:
    """A file may have the authority alone that signed the certificates, without its root."""
    intermediate = trustme.CA().create_child_ca()
    intermediate.cert_pem.write_to_path(tmp_path / "ca.pem")
    env.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    idp = Idp()
    issuer = serve_tls(idp, intermediate.issue_cert("127.0.0.1"))
    with idp:
        signs_in(new_session(issuer), idp)


def test_a_hub_with_certificates_of_its_own(tmp_path: Path, env: pytest.MonkeyPatch) -> None:
    """A hub with internal_ssl is asked directly, with this server's certificate, whatever else the environment says."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours = authority.issue_cert("alice.invalid")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    for name, file in (("CLIENT_CA", "ca.pem"), ("CERTFILE", "cert.pem"), ("KEYFILE", "key.pem")):
        env.setenv(f"JUPYTERHUB_SSL_{name}", str(tmp_path / file))
    env.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    env.setenv("SSL_CERT_FILE", "/nowhere")
    hub = Idp()
    origin = serve_tls(hub, authority.issue_cert("127.0.0.1"), clients=authority)
    with hub:
        assert run(once(HttpClient(hub_origin=f"{origin}/"), f"{origin}/jwks"), 20).ok
        with pytest.raises(ConfigurationError):
            run(once(HttpClient(), f"{origin}/jwks"), 20)


# -- one context ------------------------------------------------------------------------------------------------------


def test_providers_share_a_context(env: pytest.MonkeyPatch) -> None:
    """Certificates are read once, however many clients there are."""
    made = count(env)

    async def contexts() -> list[ssl.SSLContext]:
        return await asyncio.gather(*(tls.context(tls.trust()) for _ in range(9)))

    assert len(set(map(id, [*run(contexts(), 20), *run(contexts(), 20)]))) == 1
    assert len(made) == 1


def count(env: pytest.MonkeyPatch) -> list[int]:
    """Note each time that the system's certificates are read."""
    made: list[int] = []

    class Counted(truststore.SSLContext):
        def __init__(self, protocol: int) -> None:
            super().__init__(protocol)
            made.append(protocol)

    env.setattr(truststore, "SSLContext", Counted)
    env.setattr(tls, "_contexts", {})
    return made


def test_a_slow_disk_does_not_hold_up_the_loop(
    idp: Idp, proxy: HttpProxy, ca: str, tmp_path: Path, env: pytest.MonkeyPatch
) -> None:
    """While certificates are being read, other requests go on."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    env.setenv("SSL_CERT_FILE", str(pipe))
    waiting = asyncio.run_coroutine_threadsafe(once(HttpClient(), f"{LOGIN}/jwks"), get_loop())
    plain = f"http://127.0.0.1:{idp._server.server_port}/jwks"

    assert run(once(HttpClient(), plain), 5).ok
    assert not waiting.done()
    pipe.write_bytes(Path(ca).read_bytes())
    assert waiting.result(10).ok


def test_a_forked_child_reads_certificates_itself(ca: str, tmp_path: Path) -> None:
    """A context that a thread of the parent was making when it forked would never come."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    trusted = tls.Trust("SSL_CERT_FILE", str(pipe))
    waiting = asyncio.run_coroutine_threadsafe(tls.context(trusted), get_loop())
    end = os.open(pipe, os.O_WRONLY)  # waits until the thread reads
    pipe.unlink()
    pipe.write_bytes(Path(ca).read_bytes())
    tls._start_over()  # as a forked child does

    assert run(tls.context(trusted), 10 * patience()).get_ca_certs()
    os.close(end)
    with pytest.raises(ConfigurationError):
        waiting.result(10 * patience())


# -- proxies ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def known(ca: str, env: pytest.MonkeyPatch) -> None:
    """The company's certificate is known here."""
    env.setenv("SSL_CERT_FILE", ca)


@pytest.mark.usefixtures("known")
def test_a_proxy_with_a_password(idp: Idp, proxy: HttpProxy, env: pytest.MonkeyPatch) -> None:
    """N4: user name and password of the URL are sent, with all their special characters."""
    proxy.password = PASSWORD
    env.setenv("HTTPS_PROXY", proxy.at())

    signs_in(new_session(), idp)


@pytest.mark.usefixtures("known")
def test_a_proxy_that_wants_a_password(idp: Idp, proxy: HttpProxy, env: pytest.MonkeyPatch) -> None:
    """N4: 407 says that the proxy wants a password, or refuses this one, which is not shown."""
    proxy.password = PASSWORD
    for url, does in ((proxy.address, "wants"), (proxy.at("CANARY-wrong"), "refuses")):
        with case(does):
            env.setenv("HTTPS_PROXY", url)
            error = refused()

            assert (error.code, idp.requests) == ("proxy", [])
            for word in (does, "password", proxy.address, "HTTPS_PROXY"):
                assert word in error.message


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_that_is_gone(env: pytest.MonkeyPatch, name: str) -> None:
    """N5: it is said that the proxy cannot be reached, not the provider, and which variable names it."""
    address = f"127.0.0.1:{free_port()}"
    for url in (f"http://ada:{QUOTED}@{address}", f"ada:{QUOTED}@{address}", "proxy.corp.invalid:3128"):
        with case(url):
            env.setenv(name, url)
            error = refused()

            assert error.code == "proxy"
            for word in ("cannot be reached", url.rpartition("@")[2], name, "login.corp.invalid"):
                assert word in error.message


@pytest.mark.usefixtures("known")
def test_a_proxy_that_makes_no_connection(proxy: HttpProxy) -> None:
    """N5: the proxy's status is told, and none of its words."""
    for status in ("403 Hush", "502 Bad Gateway", "503 Service Unavailable"):
        with case(status):
            proxy.status = status
            error = refused()

            assert (error.code, f"HTTP {status[:3]}" in error.message) == ("proxy", True)
            assert status[4:] not in error.message


def test_a_silent_proxy(env: pytest.MonkeyPatch) -> None:
    """N5: a proxy that takes the connection and says nothing is told from a provider that is slow."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env.setenv("HTTPS_PROXY", f"https://127.0.0.1:{silent.getsockname()[1]}")
        error = refused(deadline=0.5)

    assert (error.code, "in time" in error.message) == ("proxy", True)


@pytest.mark.usefixtures("known")
def test_a_session_outlives_its_proxy(idp: Idp, proxy: HttpProxy, env: pytest.MonkeyPatch) -> None:
    """A proxy, a name or a certificate that fails for a while ends no sign-in."""
    session = signs_in(new_session(), idp)
    spoilt = {"proxy": ("HTTPS_PROXY", "http://127.0.0.1:1"), "unknown_host": ("NO_PROXY", "corp.invalid")}
    spoilt |= {"certificate": ("SSL_CERT_FILE", certifi.where()), "configuration": ("SSL_CERT_FILE", "/nowhere")}
    for code, (name, value) in spoilt.items():
        with case(code), pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(TokenRefreshError) as caught:
                asyncio.run(session.refresh())

            assert (caught.value.code, session.status) == (code, "signed_in")
    asyncio.run(session.refresh())
    assert session.error is None


SOCKS_SCHEMES = ("socks", "socks5", "socks5h")


@pytest.mark.parametrize("scheme", SOCKS_SCHEMES)
@pytest.mark.parametrize("password", ["", PASSWORD])
def test_a_socks_proxy(idp: Idp, socks: SocksProxy, env: pytest.MonkeyPatch, scheme: str, password: str) -> None:
    """N6: each way to write SOCKS5 works, with and without a password; the proxy resolves the name."""
    socks.password = password
    env.setenv("ALL_PROXY", socks.at(scheme=scheme) if password else socks.address.replace("socks5", scheme))

    signs_in(new_session(), idp)
    assert set(socks.asked) == {"login.corp.invalid:443"}


def test_a_socks_proxy_that_wants_a_password(socks: SocksProxy, env: pytest.MonkeyPatch) -> None:
    """N4, N6: it is told, as for other proxies."""
    socks.password = PASSWORD
    for url, does in ((socks.address, "wants"), (socks.at("CANARY-wrong"), "refuses")):
        with case(does):
            env.setenv("ALL_PROXY", url)
            error = refused()

            assert (error.code, does in error.message, "ALL_PROXY" in error.message) == ("proxy", True, True)


def test_a_socks_proxy_that_makes_no_connection(socks: SocksProxy) -> None:
    """N5, N6: the reply is told in the words of RFC 1928."""
    socks.reply = 4

    assert refused().code == "proxy"
    assert "Host unreachable" in refused().message


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400 CANARY\r\n\r\n", b"\x04\x5b", b"\x05", b"\x05\x07"])
def test_a_proxy_that_does_not_speak_socks(socks: SocksProxy, nonsense: bytes) -> None:
    """N6: something else at that port is a typed error."""
    socks.nonsense = nonsense

    assert refused().code == "proxy"


def test_a_socks_proxy_without_its_package(env: pytest.MonkeyPatch) -> None:
    """N6: the error says what to install, and which variable asks for it."""
    env.setitem(sys.modules, "socksio", None)
    env.setenv("all_proxy", "socks://127.0.0.1:1080/")
    error = refused()

    assert isinstance(error, ConfigurationError)
    assert "pywry-auth-nb[socks]" in error.message
    assert "all_proxy" in error.message


@pytest.mark.usefixtures("known")
def test_a_proxy_for_https_comes_before_one_for_all(idp: Idp, proxy: HttpProxy, env: pytest.MonkeyPatch) -> None:
    """A desktop sets ``ALL_PROXY=socks://…`` beside the others; where it is not used it cannot fail."""
    env.setitem(sys.modules, "socksio", None)
    env.setenv("ALL_PROXY", "socks://127.0.0.1:1/")

    signs_in(new_session(), idp)


@pytest.mark.usefixtures("known")
def test_a_proxy_that_is_asked_over_https(idp: Idp, proxy: HttpProxy, env: pytest.MonkeyPatch) -> None:
    """The connection to the proxy may be TLS itself; its certificate is judged like others."""
    with TlsFront(proxy.company, proxy) as front:
        env.setenv("HTTPS_PROXY", front.address)
        signs_in(new_session(), idp)
        env.setenv("SSL_CERT_FILE", certifi.where())

        assert refused().code == "certificate"


@pytest.mark.usefixtures("known")
def test_quotes_around_a_proxy(idp: Idp, proxy: HttpProxy, env: pytest.MonkeyPatch) -> None:
    """Quotes and blanks that a file of variables has left are not part of the address."""
    env.setenv("HTTPS_PROXY", f' "{proxy.address}/" ')

    signs_in(new_session(), idp)


UNUSABLE = [
    "gopher://proxy.example.org",
    "socks4://proxy.example.org",
    "http://ada:CANARY#1@proxy.example.org:3128",
    "http://ada:1#CANARY@proxy.example.org:3128",
    "http://ada:1/CANARY@proxy.example.org:3128",
    "http://ada:CANARY[@proxy.example.org:3128",
    "http://proxy.example.org:CANARY",
    "http://proxy.example.org:99999",
    "http://proxy.example.org/CANARY.pac",
    "http://pröxy CANARY",
    "http://",
    "://",
]


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
def test_an_unusable_proxy(env: pytest.MonkeyPatch, name: str) -> None:
    """N7: what is not the address of a proxy is an error that names the variable, and quotes nothing of it."""
    for url in UNUSABLE:
        with case(url):
            env.setenv(name, url)
            error = refused()

            assert isinstance(error, ConfigurationError)
            assert error.code == "configuration"
            assert name in error.message


def test_a_proxy_does_not_show_its_password(env: pytest.MonkeyPatch) -> None:
    """Nor does what keeps it."""
    env.setenv("HTTPS_PROXY", f"http://ada:{QUOTED}@127.0.0.1:3128")
    proxy = proxies.find("https", "login.corp.invalid", 443)

    assert proxy is not None
    assert proxy.auth == ("ada", PASSWORD)
    assert "CANARY" not in f"{proxy!r} {proxy}"


# -- NO_PROXY ---------------------------------------------------------------------------------------------------------

DIRECT = {
    "*": ["login.example.org", "10.0.0.1", "::1"],
    "example.org": ["example.org", "login.example.org", "LOGIN.Example.ORG", "login.example.org."],
    ".example.org": ["login.example.org", "a.b.example.org"],
    "*.example.org": ["login.example.org", "a.b.example.org"],
    "example.org.": ["login.example.org"],
    "Example.ORG": ["login.example.org"],
    "https://login.example.org/": ["login.example.org"],
    "login.example.org:443": ["login.example.org"],
    "login.*": ["login.example.org"],
    "127.*": ["127.0.0.1"],
    "127.0.0.1": ["127.0.0.1", "::ffff:127.0.0.1"],
    "127.0.0.1:443": ["127.0.0.1"],
    "10.0.0.0/8": ["10.20.30.40"],
    "10.0.0.0/255.0.0.0": ["10.20.30.40"],
    "10.20.30.40/8": ["10.1.1.1"],
    "::1": ["::1", "0:0:0:0:0:0:0:1"],
    "[::1]": ["::1"],
    "[::1]:443": ["::1"],
    "fe80::/10": ["fe80::1", "fe80::1%eth0"],
    "[fe80::]/10": ["fe80::1"],
    "fe80::1%eth0": ["fe80::1"],
    "2001:db8:0::/48": ["2001:db8::5"],
    "localhost": ["localhost"],
}
NOT_DIRECT = {
    "example.org": ["example.com", "badexample.org", "example.org.evil.example"],
    "login.example.org": ["example.org"],
    "login.example.org:8443": ["login.example.org"],
    "[::1]:8443": ["::1"],
    "127.0.0.1": ["localhost", "127.0.0.11"],
    "0.0.1": ["127.0.0.1"],
    "10.0.0.0/8": ["11.0.0.1", "10.example.org"],
    "fe80::/10": ["::1", "fe80"],
    "": ["login.example.org", "127.0.0.1"],
    " , ,,": ["login.example.org"],
    ".": ["login.example.org"],
    "[::1": ["login.example.org"],
    "10.0.0.0/99, fe80::/999, [zz]:x, :, :443, http://": ["10.0.0.1", "login.example.org"],
}


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_hosts_without_a_proxy(env: pytest.MonkeyPatch, name: str) -> None:
    """N8: every form of NO_PROXY that people write counts, alone and among others; what is none stands for no host."""
    env.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    for direct, table in ((True, DIRECT), (False, NOT_DIRECT)):
        for entry, hosts in table.items():
            for value in (entry, f"other.example, {entry} ,,[fe80::/x],", f'"other.example {entry}"'):
                for host in hosts:
                    with case(value, host):
                        env.setenv(name, value)

                        assert (proxies.find("https", host, 443) is None) is direct


def test_lower_case_wins(env: pytest.MonkeyPatch) -> None:
    """As in curl and Python."""
    env.setenv("HTTPS_PROXY", "http://upper.example:1")
    env.setenv("https_proxy", "http://lower.example:2")
    env.setenv("NO_PROXY", "upper.example.org")
    env.setenv("no_proxy", "lower.example.org")

    assert proxies.find("https", "lower.example.org", 443) is None
    assert (found := proxies.find("https", "upper.example.org", 443)) is not None
    assert (found.address, found.variable) == ("http://lower.example:2", "https_proxy")


@pytest.mark.parametrize("no_proxy", ["localhost,127.0.0.1,[::1]", "fe80::/10 corp.invalid,10.0.0.0/8", "[", "*:x"])
def test_no_proxy_stops_no_client(idp: Idp, env: pytest.MonkeyPatch, no_proxy: str) -> None:
    """N8: a provider on this machine is asked, whatever stands in NO_PROXY."""
    env.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    env.setenv("NO_PROXY", no_proxy)

    signs_in(new_session(idp.issuer), idp)


def test_a_direct_connection_beside_a_proxy(tmp_path: Path, env: pytest.MonkeyPatch) -> None:
    """A host in NO_PROXY is connected to without the proxy, which is gone."""
    authority, certificate = issued()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    env.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    env.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    env.setenv("NO_PROXY", "127.0.0.0/8")
    idp = Idp()
    issuer = serve_tls(idp, certificate)
    with idp:
        signs_in(new_session(issuer), idp)


@pytest.mark.parametrize("no_proxy", ["", "example.org", "127.0.0.1:1", "127.0.0.0/8"])
def test_a_token_does_not_go_through_a_proxy_in_plain_text(
    signed_in: SessionManager, env: pytest.MonkeyPatch, no_proxy: str
) -> None:
    """``session.auth`` asks the same code; and a form that other clients do not understand is not relied upon."""
    env.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    env.setenv("NO_PROXY", no_proxy)
    with pytest.raises(AuthenticationError) as caught:
        signed_in.auth.check("http://127.0.0.1:8000/")

    assert caught.value.code == "insecure_url"
    env.setenv("NO_PROXY", "localhost, 127.0.0.1")
    signed_in.auth.check("http://127.0.0.1:8000/")


# -- no connection ----------------------------------------------------------------------------------------------------


def test_a_name_that_is_not_known() -> None:
    """N9: it is said that it is the name, and that only a proxy may know it."""
    error = refused("https://login.example.invalid")

    assert error.code == "unknown_host"
    for word in ("login.example.invalid", "address", "HTTPS_PROXY"):
        assert word in error.message


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_port_that_refuses(scheme: str) -> None:
    """N9: it is said which host and port refuse."""
    port = free_port()
    error = refused(f"{scheme}://127.0.0.1:{port}")

    assert error.code == "connection_refused"
    assert f"127.0.0.1:{port}" in error.message


def test_a_host_with_several_addresses_that_refuse() -> None:
    """``localhost`` is tried at each of its addresses."""
    assert refused(f"http://localhost:{free_port()}").code == "connection_refused"


def test_plain_http_where_tls_is_expected(idp: Idp) -> None:
    """A connection that breaks for another reason is ``network``."""
    assert refused(idp.issuer.replace("http:", "https:")).code == "network"


def test_each_failure_has_its_own_sentence() -> None:
    """No two codes of this family say the same."""
    sentences = {TokenError(code=code).message for code in NETWORK_ERRORS}

    assert len(sentences) == len(NETWORK_ERRORS) == 5
