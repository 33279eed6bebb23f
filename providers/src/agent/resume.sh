MARK=$STATE/agent-paused
[ -e "$MARK" ] || { echo '@@already'; exit 0; }
lock_claimed
resume_command || told "$?" "$RESUME"
activity || { echo "it is not active after: $RESUME" >&2; exit 1; }
unmark || exit 1
exit 0
