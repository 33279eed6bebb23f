mkdir -p "$STAMPS" || exit 1
fail() { printf '\n@@failed %s\n' "$*"; exit 1; }
show() { systemctl show --property="$2" --value -- "$1"; }
started() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }
journal() { journalctl --no-pager --quiet --lines=8 --output=cat --unit="$1" 2>/dev/null; }
up() { [ "$(show "$1" ActiveState)" = active ] || { journal "$1"; fail "$1 is $(show "$1" ActiveState) after activation"; }; }
# dpkg writes what it is about to unpack before it unpacks: a process that was started before this found it right has
# taken up nothing else.
wholly_installed() { installed || fail "$WANTED is not wholly installed"; }
# A package that brings a unit need not tell systemd.
reread() { [ "$(show "$1" NeedDaemonReload)" != yes ] || systemctl daemon-reload; }
# What is about to take up other files is no longer what its stamp says, even if it stays the same process.
forget() { rm -f "$STAMPS/$1"; }
restart() {
  reread "$1"
  OLD=$(show "$1" MainPID)
  BEGAN=$(started "$OLD")
  systemctl restart -- "$1" || { journal "$1"; fail "$1 could not be restarted"; }
  up "$1"
  NEW=$(show "$1" MainPID)
  [ "$NEW" = 0 ] || [ "$NEW" != "$OLD" ] || [ "$(started "$NEW")" != "$BEGAN" ] || fail "$1 is still process $OLD"
}
reload() {
  reread "$1"
  systemctl reload -- "$1" || { journal "$1"; fail "$1 could not be reloaded"; }
  up "$1"
}
# stamp NAME unit|own RUNNING
stamp() {
  wholly_installed
  PID=- START=- SAID=-
  if [ "$2" = unit ]; then PID=$(show "$1" MainPID); START=$(started "$PID"); fi
  [ -z "$3" ] || SAID=$(eval "timeout 10 $3" 2>/dev/null | head -n 1)
  FILE=$STAMPS/$1
  printf '%s %s %s %s %s\n' "$VERSION" "$(cat /proc/sys/kernel/random/boot_id)" "$PID" "${START:--}" "${SAID:--}" >"$FILE.new" &&
    sync "$FILE.new" && mv "$FILE.new" "$FILE" || fail "no stamp for $1"
}
