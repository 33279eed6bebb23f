export LC_ALL=C
part() { printf '\n@@%s\n' "$1"; }
line() { IFS= read -r LINE <"$1" && printf '%s\n' "$LINE"; }
stamp() { part "stamp $1"; [ ! -r "$ROOT/stamps/$1" ] || line "$ROOT/stamps/$1"; }
part machine-id; line /etc/machine-id
part boot-id; line /proc/sys/kernel/random/boot_id
part codename; (. /etc/os-release; printf '%s\n' "$VERSION_CODENAME")
part addresses; hostname -I
part claim; [ ! -e "$ROOT/claim.json" ] || line "$ROOT/claim.json"
part unconfigured; [ ! -e "$ROOT/unconfigured" ] || line "$ROOT/unconfigured"
part packages
[ -z "$PACKAGES" ] || dpkg-query -W -f '${Package}\t${Version}\t${db:Status-Abbrev}\n' $PACKAGES 2>/dev/null
part interrupted
for FILE in /var/lib/dpkg/updates/[0-9]*; do [ ! -e "$FILE" ] || printf '%s\n' "$FILE"; done
part staged
for MARK in "$ROOT"/staged/*; do
  NAME=${MARK##*/}
  VERSION=${NAME#*=}
  while :; do case $VERSION in *:*) VERSION=${VERSION%%:*}%3a${VERSION#*:} ;; *) break ;; esac; done
  for FILE in "/var/cache/apt/archives/${NAME%%=*}_${VERSION}"_*.deb; do
    [ ! -e "$FILE" ] || printf '%s\n' "$NAME"
  done
done
part jobs
LIVE=
for JOB in "$ROOT"/jobs/*; do
  [ -d "$JOB" ] && [ ! -e "$JOB/exit" ] || continue
  NAME=${JOB##*/}
  STARTED=no
  [ ! -e "$JOB/started" ] || STARTED=started
  STATE=$(systemctl show --property=ActiveState --value "reconcile-$NAME.service")
  # It may have ended between these two looks.
  [ -e "$JOB/exit" ] || printf '%s %s %s\n' "$NAME" "$STARTED" "$STATE"
done
part units
[ -z "$UNITS" ] || eval "SEEN=\$(systemctl show --property=Id,ActiveState,SubState,MainPID -- $UNITS)"
printf '%s\n' "$SEEN"
part processes
for PID in $(printf '%s\n' "$SEEN" | sed -n 's/^MainPID=//p'); do
  [ "$PID" = 0 ] || printf '%s %s\n' "$PID" "$(line "/proc/$PID/stat" 2>/dev/null)"
done
part unpacked
for PACKAGE in $PACKAGES; do
  for FILE in "/var/lib/dpkg/info/$PACKAGE.list" "/var/lib/dpkg/info/$PACKAGE":*.list; do
    [ ! -e "$FILE" ] || stat -c %.9Y "$FILE"
  done
done
part now; date +%s.%N
part uptime; line /proc/uptime
