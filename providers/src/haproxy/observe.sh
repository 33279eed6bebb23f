printf '@@answers\n'
ANSWERS=$(ask 'show info;show servers state;show stat -1 4 -1;show table') || exit 1
printf '%s\n' "$ANSWERS"
WORKER=${ANSWERS#*Pid: }
WORKER=${WORKER%%[!0-9]*}
printf '\n@@process\n'
cat "/proc/$WORKER/stat"
find_master "$WORKER"
if OLD=$(old_workers "$WORKER"); then
  for PID in $OLD; do
    printf '\n@@old %s\n' "$PID"
    ask_master "@!$PID show stat -1 4 -1"
  done
else
  for PID in $(other_workers "$WORKER"); do printf '\n@@old %s\n' "$PID"; done
fi
printf '\n@@end\n'
