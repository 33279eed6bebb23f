# For each patch, in $PATCHES/<sha256>: `patch` itself, `plan` with a line `BEFORE AFTER FILE` for each file (checksums;
# `-`: no such file), `original/N` and `new/N` with the contents for line N, and, last of all, `mark` with a line
# `order N` and a line `AFTER FILE` for each file. Without a plan no file was touched. With a plan and no mark, each
# file is still as before or as after, because files are replaced whole: it is taken back.
export LC_ALL=C
umask 022
refuse() { printf '\n@@refused %s\n' "$*" >&2; exit 24; }
broken() { df -P / "$PATCHES" 2>/dev/null | awk 'NR > 1 && $4 < 64 { print $6 ": No space left on device" }'; exit 1; }
sum() { if [ -f "$1" ]; then SUM=$(sha256sum <"$1") || broken; SUM=${SUM%% *}; else SUM=-; [ ! -e "$1" ] || SUM=other; fi; }
order() { sed -n 's/^order //p' "$1/mark"; }
# The folders of applied patches, in the order of application.
applied() { for DIR in "$PATCHES"/*/; do DIR=${DIR%/}; [ ! -e "$DIR/mark" ] || echo "$(order "$DIR") $DIR"; done | sort -n | cut -d ' ' -f 2-; }
# What dpkg knows of a file; nothing when it belongs to no package or is one of its configuration files. usr may be merged.
packaged() {
  PATH_OF=${1#/}
  cat "$INFO"/*.md5sums 2>/dev/null |
    awk -v A="$PATH_OF" -v B="usr/$PATH_OF" -v C="${PATH_OF#usr/}" '{ N = substr($0, 35) } N == A || N == B || N == C { print $1; exit }'
}
# The file at $2 is what the package brought as $1.
pristine() { PACKAGED=$(packaged "$1"); [ -n "$PACKAGED" ] && [ -f "$2" ] && [ "$(md5sum <"$2" | cut -c 1-32)" = "$PACKAGED" ]; }
# Puts the content $1 (`-`: none) at $2, whole.
place() {
  if [ "$1" = - ]; then rm -f "$2" || broken; return; fi
  mkdir -p "${2%/*}" && cp -a "$1" "$2.reconcile-new" && sync "$2.reconcile-new" && mv -f "$2.reconcile-new" "$2" || broken
}

# Names every file of applied patches that is neither as it was left, nor as it was before, nor its package's.
drifted() {
  applied | while IFS= read -r DIR; do cat "$DIR/plan"; done |
    awk '{ F = $0; sub(/^[^ ]* [^ ]* /, "", F); if (!(F in b)) { b[F] = $1; o[++n] = F } a[F] = $2 }
      END { for (i = 1; i <= n; i++) print b[o[i]], a[o[i]], o[i] }' |
    while read -r BEFORE AFTER FILE; do
      sum "$FILE"
      [ "$SUM" = "$AFTER" ] || [ "$SUM" = "$BEFORE" ] || pristine "$FILE" "$FILE" || printf '%s ' "$FILE"
    done
}
# All files of the patch are as it, or a later one, left them.
whole() {
  applied | while IFS= read -r DIR; do sed 1d "$DIR/mark"; done |
    awk '{ F = $0; sub(/^[^ ]* /, "", F); a[F] = $1 } END { for (F in a) print a[F], F }' >"$PATCHES/now"
  sed 1d "$1/mark" | while read -r AFTER FILE; do
    WANTED=$(awk -v F="$FILE" '{ N = $0; sub(/^[^ ]* /, "", N) } N == F { print $1 }' "$PATCHES/now")
    sum "$FILE"
    [ "$SUM" = "$WANTED" ] || exit 1
  done
}
# Takes back what a patch did, begun or done: the last one first.
revert() {
  if [ -e "$1/plan" ]; then
    BAD=$(while read -r BEFORE AFTER FILE; do
      sum "$FILE"
      [ "$SUM" = "$BEFORE" ] || [ "$SUM" = "$AFTER" ] || pristine "$FILE" "$FILE" || printf '%s ' "$FILE"
    done <"$1/plan")
    [ -z "$BAD" ] || refuse "not as the patch ${1##*/} left them: $BAD"
    rm -f "$1/mark"
    sync "$1"
    N=0
    while read -r BEFORE AFTER FILE; do
      N=$((N + 1))
      rm -f "$FILE.reconcile-new"
      sum "$FILE"
      [ "$SUM" = "$AFTER" ] && [ "$SUM" != "$BEFORE" ] || continue
      if [ "$BEFORE" = - ]; then place - "$FILE"; else place "$1/original/$N" "$FILE"; fi
      printf 'taken back: %s\n' "$FILE"
    done <"$1/plan"
  fi
  rm -rf "$1"
}

# Before packages bring their files anew: takes back what can be, and forgets the rest.
drop_patches() {
  [ -d "$PATCHES" ] || return 0
  (applied | tac | while IFS= read -r DIR; do revert "$DIR"; done)
  rm -rf "$PATCHES"
}
