part generation; [ ! -e "$MEMORY" ] || line "$MEMORY"
part once
for JOB in "$ROOT"/once/*; do
  [ -e "$JOB/started" ] || continue
  LINE=-1; [ ! -e "$JOB/exit" ] || IFS= read -r LINE <"$JOB/exit"
  printf '%s %s\n' "${JOB##*/}" "${LINE:--1}"
done
part patches
set --
for MARK in "$ROOT"/patches/*/mark; do
  [ -e "$MARK" ] || continue
  NAME=${MARK%/mark}
  printf 'patch %s\n' "${NAME##*/}"
  while IFS= read -r LINE; do
    printf '%s\n' "$LINE"
    case $LINE in *' /'*) set -- "$@" "${LINE#* }" ;; esac
  done <"$MARK"
done
part patched; [ $# = 0 ] || sha256sum -- "$@" 2>/dev/null
