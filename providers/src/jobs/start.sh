export LC_ALL=C
UNIT=reconcile-$STEP.service
JOBS=$ROOT/jobs
DIR=$JOBS/$STEP
report() {
  [ -e "$DIR/exit" ] || return 0
  printf '@@exit\n'; cat "$DIR/exit"
  printf '\n@@output\n'; tail -c 20000 "$DIR/output"
  prune >&2
  exit 0
}
live() {
  case $(systemctl show --property=ActiveState --value "$UNIT") in
    activating | active | deactivating | reloading) return 0 ;;
  esac
  return 1
}
# Keeps the last twenty ended jobs. Lost ones stay until a job of their kind has succeeded.
prune() {
  ls -1t "$JOBS" | { N=0; while IFS= read -r JOB; do
    N=$((N + 1))
    if [ -e "$JOBS/$JOB/exit" ]; then
      [ $N -le 20 ] || rm -rf "${JOBS:?}/$JOB"
    elif [ "$JOB" != "$STEP" ] && [ "$(cat "$JOBS/$JOB/kind" 2>/dev/null)" = "$KIND" ] &&
      [ "$(tr -d ' ' <"$DIR/exit")" = 0 ] && ! systemctl --quiet is-active "reconcile-$JOB.service"; then
      rm -rf "${JOBS:?}/$JOB"
    fi
  done; }
}
# The shell calls a full disk an I/O error.
full() {
  [ "$(df -P "$JOBS" | awk 'NR == 2 { print $4 }')" -gt 64 ] || echo 'No space left on device' >&2
  exit 1
}
umask 022
report
# Without a folder nobody has ever started it.
if [ ! -d "$DIR" ] || ! live; then
  report
  if [ ! -e "$DIR/started" ]; then
    mkdir -p "$DIR" || full
    printf '%s\n' "$KIND" >"$DIR/kind" && printf '%s\n' "$FENCE" >"$DIR/fence" &&
      printf '%s\n' "$SCRIPT" >"$DIR/script" && printf '%s\n' "$RUN" >"$DIR/run" && printf '%-3s\n' 1 >"$DIR/exit.new" && : >"$DIR/output" || full
    # Returns when the job has ended. Refused when somebody else has just started it: then we wait below.
    systemd-run --quiet --collect --unit="$UNIT" --property=Type=oneshot --property=KillMode=process \
      --description="reconcile $KIND" /bin/sh "$DIR/run" "$DIR" >&2
  fi
fi
report
while live; do sleep 0.1; done
report
if [ -e "$DIR/started" ]; then
  printf '@@lost\n\n@@output\n'; tail -c 20000 "$DIR/output"
fi
exit 0
