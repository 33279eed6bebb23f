#!/bin/sh
# Installs what building and testing needs from Debian's packages, when it is root on Debian and something is missing.
# Otherwise it says what is missing, and goes on: cargo's own error is then the next thing to read.
set -eu

# What it is for is in the comment; the command that must exist, or the file, before the colon.
missing=""
need() { # need PACKAGE TEST...
  package=$1; shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}
need gcc cc --version                          # SQLite and libgit2 are built from source
need make make --version
need pkg-config pkg-config --version
need libssl-dev pkg-config --exists openssl    # https, and ssh for git
need git git --version
need openssh-client sh -c 'command -v ssh'
need gnupg gpg --version                       # tests of signed commits
need patch patch --version                     # tests of post-deployment patches
command -v cargo >/dev/null 2>&1 || { echo "setup: cargo is missing: install Rust 1.85 or later (rustup.rs), then run this again" >&2; exit 1; }

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
  echo "setup: installing$missing" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  # shellcheck disable=SC2086  # a list of package names
  apt-get -qq -y --no-install-recommends install $missing >/dev/null
else
  echo "setup: missing Debian packages:$missing" >&2
  echo "setup: install them, for example: sudo apt-get install$missing" >&2
fi
