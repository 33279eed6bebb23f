MARK=$STATE/agent-paused
activity
ACTIVE=$?
if [ "$ACTIVE" != 0 ]; then
  # Paused already: by us, or by somebody else, whose pause is not ours to end.
  echo '@@already'
  exit 0
fi
busy && exit 27
lock_claimed
mark || exit 1
pause_command || told "$?" "$PAUSE"
activity && { echo "it is still active after: $PAUSE" >&2; exit 1; }
exit 0
