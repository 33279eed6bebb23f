export LC_ALL=C
UNIT=reconcile-$NAME.service
DIR=$ROOT/once/$NAME
# What was recorded, whoever began it; a job whose first effect is on disk is never begun again.
report() {
  [ -e "$DIR/started" ] && [ -e "$DIR/exit" ] || return 0
  printf '@@exit\n'; cat "$DIR/exit"
  printf '\n@@output\n'; tail -c 20000 "$DIR/output"
  exit 0
}
live() {
  case $(systemctl show --property=ActiveState --value "$UNIT") in
    activating | active | deactivating | reloading) return 0 ;;
    # Without an answer a running job would look like a lost one.
    '') printf '@@no-systemd\n'; exit 0 ;;
  esac
  return 1
}
# Ends the script, with 0 and no part when there was no answer, unless "$@" succeeded under the lock and the claim.
fenced() {
  (lock_host || { echo 'the lock is busy' >&2; exit 74; }; claimed || exit 75; "$@")
  case $? in 0) ;; 74) exit 0 ;; *) exit $? ;; esac
}
# Whole files by renaming: another service's attempt at the same job may be reading them.
lay() {
  [ ! -e "$DIR/started" ] || return 0
  mkdir -p "$DIR" && rm -f "$DIR/refused" && put fence "$FENCE" && put script "$SCRIPT" && put run "$RUN" &&
    printf '%-3s\n' 1 >"$DIR/exit.new" && : >"$DIR/output" || full
}
put() { printf '%s\n' "$2" >"$DIR/$1.new" && mv "$DIR/$1.new" "$DIR/$1"; }
# The shell calls a full disk an I/O error.
full() {
  [ "$(df -P "$ROOT" | awk 'NR == 2 { print $4 }')" -gt 64 ] || echo 'No space left on device' >&2
  return 1
}
umask 022
report
if ! live && [ ! -e "$DIR/started" ]; then
  fenced true
  WORDS=$(ready 2>&1 </dev/null) || { printf '@@not-ready\n%s\n\n@@output\n%s\n' "$?" "$WORDS"; exit 0; }
  fenced lay
  # Returns when the job has ended. Refused when somebody else has just started it: then we wait below.
  systemd-run --quiet --collect --unit="$UNIT" --property=Type=oneshot --property=KillMode="$KILL" \
    --description="reconcile $NAME" /bin/sh "$DIR/run" "$DIR" >&2
fi
PAUSE=0.1
while live; do sleep "$PAUSE"; PAUSE=1; done
report
if [ -e "$DIR/started" ]; then
  printf '@@lost\n\n@@output\n'; tail -c 20000 "$DIR/output"
elif [ -e "$DIR/refused" ]; then
  cat "$DIR/output" >&2
  [ "$(cat "$DIR/refused")" != 75 ] || exit 75
fi
exit 0
