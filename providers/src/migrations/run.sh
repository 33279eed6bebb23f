# Runs inside the unit. The folder of the job is $1.
DIR=$1
cd "$DIR" || exit 1
. ./fence
export HOME=/root LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Nothing was run: the name is still free.
refuse() { printf '%s\n' "$1" >refused; exit "$1"; }
# Overwrites in place, so that a disk that became full meanwhile cannot lose the result.
finish() { printf '%-3s\n' "$1" 1<>exit.new && sync exit.new && mv exit.new exit && sync .; exit "$1"; }
lock_host || refuse 74
claimed 2>output || refuse 75
set -C
: >started || exit 1
set +C
# The folders above are new too.
sync started . .. ../.. || { rm -f started; refuse 74; }
exec 9>&-
/bin/sh ./script </dev/null >>output 2>&1
finish $?
