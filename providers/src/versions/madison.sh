export LC_ALL=C
STAMP=$STATE/lists-refreshed
# Whoever refreshed them: half a minute is new enough. It must be less than the time between two questions of ours.
if [ -z "$(find "$STAMP" /var/lib/apt/lists -maxdepth 0 -newermt "30 seconds ago" 2>/dev/null)" ]; then
  if SAID=$(apt-get -q update -o Acquire::Retries=1 -o Acquire::http::Timeout=20 2>&1); then
    mkdir -p "$STATE" && : >"$STAMP"
  else
    case $SAID in
    # Somebody else refreshes them at this moment.
    *'Could not get lock'* | *'Unable to lock'*) ;;
    *) printf '%s\n' "$SAID" >&2; exit 22 ;;
    esac
  fi
fi
exec apt-cache madison -- "$PACKAGE"
