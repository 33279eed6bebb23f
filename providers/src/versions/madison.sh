export LC_ALL=C
STAMP=$STATE/lists-refreshed
# Whoever refreshed them: a minute old is new enough.
if [ -z "$(find "$STAMP" /var/lib/apt/lists -maxdepth 0 -mmin -1 2>/dev/null)" ]; then
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
