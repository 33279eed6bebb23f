# -t: how long to wait for the answer after the question; socat's own default of 0.5 s cuts long answers.
ask() { printf '%s\n' "$1" | socat -t5 - "UNIX-CONNECT:$SOCKET"; }
ask_master() { printf '%s\n' "$1" | socat -t5 - "UNIX-CONNECT:$MASTER"; }
# Field $2 of /proc/$1/stat, counted from the state, which is field 3.
stat_field() { sed -n 's/^.*) //p' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f "$(($2 - 2))"; }
# The command line of $1, one argument a line, without what a reload adds.
arguments() { tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | sed '/^-\(sf\|st\|x\)$/,$d'; }
# Finds the parent of worker $1 and the master's socket, as the master was told by -S.
find_master() {
  PARENT=$(stat_field "$1" 4)
  MASTER=$(arguments "$PARENT" | sed -n '/^-S$/{n;p;q;}')
  MASTER=${MASTER%%,*}
}
# The pids of workers from before a reload, when the master's socket tells about our worker $1 at all.
old_workers() {
  [ -n "$MASTER" ] || return 1
  ask_master 'show proc' 2>/dev/null | awk -v worker="$1" '
    /^#/ { old = ($2 == "old" && $3 == "workers"); next }
    $2 == "worker" && old { print $1 }
    $2 == "worker" && !old && $1 == worker { ours = 1 }
    END { exit !ours }'
}
# The same by processes: other children of our worker's parent; without a master, the same command line.
other_workers() {
  for PID in $(pidof haproxy); do
    [ "$PID" != "$1" ] && [ "$PID" != "$PARENT" ] && [ "$(stat_field "$PID" 4)" = "$PARENT" ] || continue
    if [ "$PARENT" != 1 ] || [ "$(arguments "$PID")" = "$(arguments "$1")" ]; then echo "$PID"; fi
  done
}
