# Runs inside the unit. The folder of the job is $1.
DIR=$1
cd "$DIR" || exit 1
. ./fence
export HOME=/root LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Overwrites in place, so that a disk that became full meanwhile cannot lose the result.
finish() { printf '%-3s\n' "$1" 1<>exit.new && sync exit.new && mv exit.new exit && sync .; exit "$1"; }
lock_host || { echo 'reconcile: the lock is busy' >output; finish 74; }
claimed 2>output || finish 75
set -C
: >started || exit 1
set +C
sync started . || finish 74
exec 9>&-
/bin/sh ./script </dev/null >>output 2>&1
finish $?
