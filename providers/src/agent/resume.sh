MARK=$STATE/agent-paused
[ -e "$MARK" ] || { echo '@@already'; exit 0; }
under_lock true
resume_command || told "$?" "$RESUME"
activity || { echo "it is not active after: $RESUME" >&2; exit 1; }
under_lock unmark
exit 0
