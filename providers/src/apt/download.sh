CACHE=/var/cache/apt/archives
# A version's epoch is written %3a in a file's name.
file() { ls "$CACHE/${1%%=*}_$(say "${1#*=}" | sed 's/:/%3a/')"_*.deb 2>/dev/null | head -n 1; }
staged() { for WORD in $WANTED; do [ -e "$STAGED/$WORD" ] && [ -n "$(file "$WORD")" ] || return 1; done; }
if staged; then say '@@already'; exit 0; fi
mkdir -p "$STAGED" || failed
known || refresh || failed
PINS=$(mktemp) || failed
trap 'rm -f "$PINS"' EXIT
# Above the permanent pin of what is installed now; the user's own rules stay in force.
{ preferences 1002 && cat /etc/apt/preferences 2>/dev/null; } >"$PINS"
# Where dpkg was left half-way apt refuses to plan; the packages alone can be fetched all the same.
apt -d -o "Dir::Etc::preferences=$PINS" install $WANTED </dev/null ||
  (cd "$CACHE" && apt-get -q -o Acquire::Retries=1 download $WANTED) || failed
for WORD in $WANTED; do
  [ -n "$(file "$WORD")" ] || continue
  : >"$STAGED/$WORD" || failed
done
# Markers whose files apt has cleaned away.
ls "$STAGED" | while IFS= read -r WORD; do [ -n "$(file "$WORD")" ] || rm -f "$STAGED/$WORD"; done
