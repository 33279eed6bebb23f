# -t: how long to wait for the answer after the question; socat's own default of 0.5 s cuts long answers.
# `become` stands for a shell that ends with the answer, so that it costs one process.
become() {
  exec socat -t5 - "UNIX-CONNECT:$1" <<END
$2
END
}
ask() { (become "$SOCKET" "$1"); }
ask_master() { (become "$MASTER" "$1"); }
# Field $2 of /proc/$1/stat, counted from the state, which is field 3.
stat_field() { sed -n 's/^.*) //p' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f "$(($2 - 2))"; }
# The command line of $1, one argument a line, without what a reload adds.
arguments() { tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | sed '/^-\(sf\|st\|x\)$/,$d'; }
# Worker $1 has no sister: its parent, the master, has no other child. The oldest child stands first there, so an old
# worker that ends meanwhile cannot hide. Tells nothing where the kernel does not list children.
alone() {
  CHILDREN=
  { IFS= read -r STAT <"/proc/$1/stat"; } 2>/dev/null || return 1
  STAT=${STAT##*) ? }
  PARENT=${STAT%% *}
  { IFS= read -r CHILDREN <"/proc/$PARENT/task/$PARENT/children"; } 2>/dev/null || [ "$CHILDREN" ] || return 1
  [ "$PARENT" != 1 ] && [ "$CHILDREN" = "$1 " ]
}
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
