# Every process that this script starts is time on the host: what the shell can do by itself, it does.
export LC_ALL=C
NEWLINE='
'
part() { printf '\n@@%s\n' "$1"; }
line() { IFS= read -r LINE <"$1" && printf '%s\n' "$LINE"; }
stamp() { part "stamp $1"; [ ! -r "$ROOT/stamps/$1" ] || line "$ROOT/stamps/$1"; }
part machine-id; line /etc/machine-id
part boot-id; line /proc/sys/kernel/random/boot_id
part codename
while IFS= read -r LINE; do
  case $LINE in VERSION_CODENAME=*) LINE=${LINE#*=}; LINE=${LINE#[\"\']}; printf '%s\n' "${LINE%[\"\']}"; break ;; esac
done </etc/os-release
part addresses; hostname -I
part claim; [ ! -e "$ROOT/claim.json" ] || line "$ROOT/claim.json"
part unconfigured; [ ! -e "$ROOT/unconfigured" ] || line "$ROOT/unconfigured"
part interrupted
INTERRUPTED=
for FILE in /var/lib/dpkg/updates/[0-9]*; do [ ! -e "$FILE" ] || { INTERRUPTED=1; printf '%s\n' "$FILE"; }; done
part packages
if [ -z "$PACKAGES" ]; then :
elif [ "$INTERRUPTED" ]; then
  # dpkg's journal is to be read over its status, which dpkg alone knows how to do.
  dpkg-query -W -f '${Package}\t${Version}\t${db:Status-Abbrev}\n' $PACKAGES 2>/dev/null
else
  # The same from the file that dpkg replaces as a whole; reading all of it takes dpkg-query five times as long.
  awk -v WANTED="$PACKAGES" '
    BEGIN {
      RS = ""
      for (N = split(WANTED, NAMES, " "); N > 0; N--) wanted[NAMES[N]]
      split("unknown u install i hold h deinstall r purge p", P, " ")
      for (N = 1; N < 10; N += 2) want[P[N]] = P[N + 1]
      split("not-installed n config-files c half-installed H unpacked U half-configured F triggers-awaited W triggers-pending t installed i", P, " ")
      for (N = 1; N < 16; N += 2) state[P[N]] = P[N + 1]
    }
    substr($0, 1, 9) == "Package: " && substr($0, 10, index($0 "\n", "\n") - 10) in wanted {
      STATUS = VERSION = ""
      for (N = split($0, LINES, "\n"); N > 1; N--) {
        if (LINES[N] ~ /^Version: /) VERSION = substr(LINES[N], 10)
        if (LINES[N] ~ /^Status: /) STATUS = substr(LINES[N], 9)
      }
      split(STATUS, S, " ")
      printf "%s\t%s\t%s%s%s\n", substr(LINES[1], 10), VERSION, want[S[1]], state[S[3]], S[2] == "ok" ? " " : "R"
    }' /var/lib/dpkg/status
fi
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
SEEN=
[ -z "$UNITS" ] || eval "SEEN=\$(systemctl show --property=Id,ActiveState,SubState,MainPID -- $UNITS)"
printf '%s\n' "$SEEN"
part processes
IFS=$NEWLINE
for LINE in $SEEN; do
  PID=${LINE#MainPID=}
  [ "$PID" != "$LINE" ] && [ "$PID" != 0 ] || continue
  # It may have gone since systemd told.
  { IFS= read -r LINE <"/proc/$PID/stat"; } 2>/dev/null && printf '%s %s\n' "$PID" "$LINE"
done
unset IFS
set --
for PACKAGE in $PACKAGES; do
  FILE=/var/lib/dpkg/info/$PACKAGE.list
  # Looking for the other name means reading the whole folder.
  [ -e "$FILE" ] || for FILE in "/var/lib/dpkg/info/$PACKAGE":*.list; do :; done
  [ ! -e "$FILE" ] || set -- "$@" "$FILE"
done
# `-` is the pipe of this here-document: it was made just now, and its time of change is the host's clock.
TIMES=$(stat -c %.9Y "$@" - <<END
now
END
)
part uptime; line /proc/uptime
part now; printf '%s\n' "${TIMES##*"$NEWLINE"}"
part unpacked; [ $# = 0 ] || printf '%s\n' "${TIMES%"$NEWLINE"*}"
