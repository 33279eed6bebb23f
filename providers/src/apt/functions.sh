export LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1
umask 022
NEWLINE='
'
say() { printf '%s\n' "$*"; }
# The lock is waited for only so long that a passing holder does not matter; a lasting one is to be reported.
apt() {
  apt-get -y -q --no-install-recommends --allow-downgrades --allow-change-held-packages --no-remove \
    -o DPkg::Lock::Timeout=30 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
    -o Dpkg::Use-Pty=0 -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@"
}
refresh() { SHOWN_OF=; apt-get -q update -o Acquire::Retries=1 -o Acquire::http::Timeout=20; }
names() { for WORD in $WANTED; do say "${WORD%%=*}"; done; }
# dpkg's journal is not empty.
interrupted() { for FILE in /var/lib/dpkg/updates/[0-9]*; do [ ! -e "$FILE" ] || return 0; done; return 1; }
right() { ! interrupted && installed; }
# What apt knows of a version, into SHOWN. Each question costs apt some 40 ms, so the last answer is kept.
SHOWN_OF=
show() { [ "$SHOWN_OF" = "$1" ] || { SHOWN=$(apt-cache show "$1" 2>/dev/null); SHOWN_OF=$1; }; }
# Preferences that lock a package and its siblings of one source to a version, with priority $1.
preferences() {
  for WORD in $WANTED; do
    PACKAGE=${WORD%%=*}
    show "$WORD"
    SOURCE=${SHOWN#*"${NEWLINE}Source: "}
    [ "$SOURCE" != "$SHOWN" ] || SOURCE=$PACKAGE
    printf 'Package: src:%s\nPin: version %s\nPin-Priority: %s\n\n' "${SOURCE%%[ $NEWLINE]*}" "${WORD#*=}" "$1"
    printf 'Package: %s\nPin: version %s\nPin-Priority: %s\n\n' "$PACKAGE" "${WORD#*=}" "$1"
  done
}
# Of a package that it knows in another version only, apt-cache says nothing and succeeds.
known() { for WORD in $WANTED; do show "$WORD"; [ -n "$SHOWN" ] || return 1; done; }
# Names a full file system: not every program says why it could not write.
tell_full() {
  df -P / /usr /var /var/cache/apt/archives /var/lib/dpkg 2>/dev/null |
    awk 'NR > 1 && $2 > 0 && $4 < 1024 { print $6 ": No space left on device" }' | sort -u
}
failed() { tell_full; exit 22; }
