WORKER=$(ask 'show info' | sed -n 's/^Pid: //p')
find_master "$WORKER"
for PID in $(old_workers "$WORKER"); do
  printf '%s\n' "$COMMANDS" | while IFS= read -r LINE; do ask_master "@!$PID $LINE" >&2; done
done
