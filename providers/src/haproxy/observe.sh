printf '@@answers\n'
ANSWERS=$(become "$SOCKET" 'show info;show servers state;show stat -1 4 -1;show table') || exit 1
printf '%s\n' "$ANSWERS"
WORKER=${ANSWERS#*Pid: }
WORKER=${WORKER%%[!0-9]*}
printf '\n@@process\n'
{ IFS= read -r STAT <"/proc/$WORKER/stat"; } 2>/dev/null && printf '%s\n' "$STAT"
if alone "$WORKER"; then :
elif find_master "$WORKER"; OLD=$(old_workers "$WORKER"); then
  for PID in $OLD; do
    printf '\n@@old %s\n' "$PID"
    ask_master "@!$PID show stat -1 4 -1"
  done
else
  for PID in $(other_workers "$WORKER"); do printf '\n@@old %s\n' "$PID"; done
fi
printf '\n@@generation\n'; [ ! -e "$MEMORY" ] || while IFS= read -r LINE; do printf '%s\n' "$LINE"; done <"$MEMORY"
printf '\n@@end\n'
