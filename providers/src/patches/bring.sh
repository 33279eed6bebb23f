# Applies the patch $1 in the folder $2; $3 names it for people, and FILES has a line `KIND FILE` for each file.
apply() {
  DIR=$PATCHES/$1
  ROOT=$(realpath -e -- "$2") && [ -d "$ROOT" ] || refuse "there is no folder $2"
  mkdir -p "$DIR/tree" "$DIR/original" "$DIR/new" && cp "$INCOMING/$1" "$DIR/patch" || broken
  printf '%s\n' "$FILES" >"$DIR/files"
  foreign "$DIR" "$ROOT"
  if [ -n "$FOREIGN" ]; then adopt "$DIR" "$ROOT"; else
    fill "$DIR" "$ROOT" tree
    PATCH_WORDS=$(patched "$DIR" tree) || refuse "$3 does not fit: $PATCH_WORDS"
    BEFORE_TREE=$ROOT AFTER_TREE=$DIR/tree
  fi
  plan "$DIR" "$ROOT"
  N=0
  while read -r BEFORE AFTER FILE; do
    N=$((N + 1))
    sum "$FILE"
    [ "$SUM" = "$AFTER" ] && continue
    if [ "$AFTER" = - ]; then place - "$FILE"; else place "$DIR/new/$N" "$FILE"; fi
  done <"$DIR/plan"
  sed -n 's/^[^ ]* [^ ]* \(.*\)$/\1/p' "$DIR/plan" | while IFS= read -r FILE; do [ ! -e "$FILE" ] || sync "$FILE"; done
  LAST=$(applied | tail -n 1)
  { echo "order $(($([ -z "$LAST" ] && echo 0 || order "$LAST") + 1))"; sed 's/^[^ ]* //' "$DIR/plan"; } >"$DIR/mark.new" &&
    sync "$DIR/mark.new" && mv "$DIR/mark.new" "$DIR/mark" && sync "$DIR" "$PATCHES" || broken
  rm -rf "$DIR/tree" "$DIR/reversed" "$DIR/new"
  printf 'applied: %s\n' "$3"
}
# Files that somebody else has changed, by the package's own checksums, into FOREIGN.
foreign() {
  FOREIGN=
  while read -r KIND FILE; do
    AT=$2/$FILE
    case $(realpath -m -- "${AT%/*}")/ in "$2"/*) ;; *) refuse "$AT leads out of $2" ;; esac
    [ ! -L "$AT" ] || refuse "$AT is a symbolic link"
    if [ "$KIND" = create ]; then [ ! -e "$AT" ] || FOREIGN="$FOREIGN$AT "; continue; fi
    [ -f "$AT" ] || { FOREIGN="$FOREIGN$AT "; continue; }
    applied | while IFS= read -r OTHER; do sed 1d "$OTHER/mark"; done | cut -d ' ' -f 2- | grep -q -x -F -e "$AT" && continue
    [ -z "$(packaged "$AT")" ] || pristine "$AT" "$AT" || FOREIGN="$FOREIGN$AT "
  done <"$1/files"
}
# Copies the files that there are into the folder $3 of the patch.
fill() {
  mkdir -p "$1/$3" || broken
  while read -r KIND FILE; do
    [ ! -f "$2/$FILE" ] || (cd "$2" && cp -a --parents "./$FILE" "$1/$3/") || broken
  done <"$1/files"
}
# Patches a copy, exactly: the lines around are all to be as the patch has them.
patched() {
  TREE=$1/$2
  shift 2
  patch --directory="$TREE" --strip=1 --unified --force --fuzz=0 --no-backup-if-mismatch --reject-file=- "$@" \
    --input="$DIR/patch" 2>&1
}
# The host has the patch already, by another hand: exactly so when taking it back gives the package's own files.
adopt() {
  fill "$1" "$2" reversed
  patched "$1" reversed --reverse >/dev/null || refuse "changed by somebody else: $FOREIGN"
  while read -r KIND FILE; do
    case $KIND in
      create) [ ! -e "$1/reversed/$FILE" ] ;;
      *) pristine "$2/$FILE" "$1/reversed/$FILE" ;;
    esac || refuse "changed by somebody else: $FOREIGN"
  done <"$1/files"
  BEFORE_TREE=$1/reversed AFTER_TREE=$2
}
# Writes down, on disk, what is to be done, before anything is.
plan() {
  N=0
  while read -r KIND FILE; do
    N=$((N + 1))
    sum "$BEFORE_TREE/$FILE"; BEFORE=$SUM
    sum "$AFTER_TREE/$FILE"; AFTER=$SUM
    case $KIND in create) [ "$BEFORE" = - ] && [ "$AFTER" != - ] ;; delete) [ "$AFTER" = - ] ;; *) [ "$AFTER" != - ] ;; esac ||
      refuse "patch(1) did not $KIND $FILE"
    [ "$BEFORE" = - ] || cp -a "$BEFORE_TREE/$FILE" "$1/original/$N" || broken
    [ "$AFTER" = - ] || cp -a "$AFTER_TREE/$FILE" "$1/new/$N" || broken
    printf '%s %s %s\n' "$BEFORE" "$AFTER" "$2/$FILE"
  done <"$1/files" >"$1/plan.new"
  find "$1" -type f -exec sync {} + && mv "$1/plan.new" "$1/plan" && sync "$1" "$1/original" "$1/new" || broken
}

mkdir -p "$PATCHES" || broken
command -v patch >/dev/null || [ -z "$WANTED" ] || refuse 'the program patch(1) is not installed'
CHANGED=
for DIR in "$PATCHES"/*/; do
  DIR=${DIR%/}
  [ ! -d "$DIR" ] || [ -e "$DIR/mark" ] || { revert "$DIR"; CHANGED=1; }
done
DRIFTED=$(drifted)
[ -z "$DRIFTED" ] || refuse "not as the patches left them: $DRIFTED"
# What is applied and wanted, from the first on, stays; from the first difference on everything is taken back.
set -- $WANTED
REVERT=
applied >"$PATCHES/list"
while IFS= read -r DIR; do
  if [ -z "$REVERT" ] && [ "${DIR##*/}" = "${1-}" ] && whole "$DIR"; then shift; continue; fi
  REVERT="$DIR
$REVERT"
done <"$PATCHES/list"
printf '%s' "$REVERT" | while IFS= read -r DIR; do revert "$DIR"; done || exit $?
rm -f "$PATCHES/list" "$PATCHES/now"
[ -n "$CHANGED$REVERT$*" ] || { rm -rf "$INCOMING"; echo '@@already'; exit 0; }
for NAME in "$@"; do "apply_$NAME"; done
rm -rf "$INCOMING"
