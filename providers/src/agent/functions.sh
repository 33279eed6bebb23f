export HOME=/root LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
cd /
# The claim is ours, and stays so to the end: the lock is held by this script alone, by no command that it starts.
lock_claimed() { lock_host || { echo 'the lock is busy' >&2; exit 74; }; claimed || exit $?; }
told() { echo "ended with $1: $2" >&2; exit 21; }
# No answer in time is neither yes nor no.
activity() {
  active_command >/dev/null 2>&1
  case $? in 0) return 0 ;; 124 | 137) echo 'no answer in 10 s whether it is active' >&2; exit 1 ;; *) return 1 ;; esac
}
busy() { [ "$HAS_BUSY" = 1 ] && busy_command >/dev/null 2>&1; }
# On disk before the agent is touched: whoever finds it paused finds why.
mark() {
  printf '%s\n' "$WHY" "by: $SERVICE" "commit: $COMMIT" "since: $(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$MARK.new" &&
    sync "$MARK.new" && mv "$MARK.new" "$MARK" && sync "$STATE"
}
unmark() { rm -f "$MARK" && sync "$STATE"; }
