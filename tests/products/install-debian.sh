#!/bin/sh
# Install the providers that `make products` starts, if they are missing, or say what is missing. Nothing is started here.
set -eu

missing=
command -v glewlwyd >/dev/null || missing="glewlwyd dbconfig-sqlite3"
# What its OpenID Connect part loads is only recommended by its package.
perl -MLemonldap::NG::Portal::Issuer::OpenIDConnect -MPlack -e 1 2>/dev/null ||
    missing="$missing liblemonldap-ng-portal-perl libplack-perl libio-string-perl libstring-random-perl"
test -n "$missing" || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "make products needs LemonLDAP::NG and Glewlwyd. Debian, Ubuntu, as root: apt-get install $missing."
    echo "Elsewhere, run it in a container of Debian. The other real providers: pytest tests/products."
    exit 1
fi

# Their packages start them as services of this machine unless this file says no (invoke-rc.d, deb-systemd-invoke).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
apt-get update -qq
# shellcheck disable=SC2086 # several names
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
