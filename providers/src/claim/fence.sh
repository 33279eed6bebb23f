lock_host() { mkdir -p "$OUR_STATE" && exec 9>>"$OUR_STATE/lock" && flock -w 8 9; }
# Whether this generation may act here at all. What was here last is then in EVER and WHO.
not_newer() {
  EVER=0 WHO=
  [ ! -e "$OUR_MEMORY" ] || read -r EVER WHO <"$OUR_MEMORY"
  [ "$EVER" -le "$OUR_GENERATION" ] || {
    echo "generation $EVER of service $OUR_SERVICE has been there: generation $OUR_GENERATION may change nothing any more" >&2
    return 75
  }
  [ "$EVER" -lt "$OUR_GENERATION" ] || [ "$WHO" = "$OUR_PROCESS" ] || {
    echo "another process has been there as service $OUR_SERVICE, generation $OUR_GENERATION: this one may change nothing" >&2
    return 75
  }
}
# From here on nothing older may act here. To be called under the lock; on disk before anything follows.
raise() {
  not_newer || return 75
  [ "$EVER" -lt "$OUR_GENERATION" ] || return 0
  printf '%s %s\n' "$OUR_GENERATION" "$OUR_PROCESS" >"$OUR_STATE/fence.new" && sync "$OUR_STATE/fence.new" &&
    mv "$OUR_STATE/fence.new" "$OUR_MEMORY" && sync "$OUR_STATE"
}
# Whether the mark on the host is this very process's.
claimed() {
  not_newer || return 75
  CLAIM=$(cat "$OUR_STATE/claim.json" 2>&1)
  case $CLAIM in "$OUR_CLAIM"*) ;; *) printf 'claim: %s\n' "$CLAIM" >&2; return 75 ;; esac
}
