#!/bin/sh
# Install the browsers that `make places` starts besides Chromium, if they are missing, or say what is missing.
set -eu

missing=
command -v firefox-esr >/dev/null || missing="firefox-esr"
command -v WebKitWebDriver >/dev/null || missing="$missing webkit2gtk-driver"
command -v xvfb-run >/dev/null || missing="$missing xvfb xauth"
test -n "$missing" || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "make places needs Firefox and WebKitGTK. Debian, Ubuntu, as root: apt-get install $missing."
    exit 1
fi
apt-get update -qq
# shellcheck disable=SC2086 # several names
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
