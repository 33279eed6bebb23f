# `unconfigured` names what is to be installed, from before the install until the last configure command succeeded.
PENDING=$STATE/unconfigured
pending() { [ -e "$PENDING" ] && [ "$(cat "$PENDING")" = "$WANTED" ]; }
if right && ! pending; then say '@@already'; exit 0; fi
pin() {
  for WORD in $WANTED; do
    # apt ignores a file with a dot or a plus in its name, other than the ending.
    FILE=/etc/apt/preferences.d/reconcile-$(say "${WORD%%=*}" | tr -c 'A-Za-z0-9\n-' '_').pref
    (WANTED=$WORD; preferences 1001) >"$FILE.new" && mv "$FILE.new" "$FILE" || return 1
  done
}
# Something else than what we install was left half-way, or dpkg's own journal was: apt refuses to go on. Our own
# packages are mended by the install itself, and a broken version by the one that replaces it.
UNWHOLE=unknown
half_way() {
  interrupted && return 0
  UNWHOLE=$(dpkg-query -W -f '${db:Status-Abbrev}|${Package}\n' | sed -n 's/^.[HUFWt].|//p;s/^..R|//p')
  [ "$UNWHOLE" ] && say "$UNWHOLE" | grep -q -v -x -F "$(names)"
}
# The files of a package may be missing although its version is right.
reinstall() {
  [ "$UNWHOLE" ] || return 0
  for NAME in $(names); do
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$NAME" 2>/dev/null) in ??R | ?H?) say --reinstall; return ;; esac
  done
}
# debconf's questions before the install are of no use where nobody answers, and take longer than apt's own plan: they
# are left out. Where anything else is to be told of packages beforehand, all stays as it is.
settings() {
  [ "$(apt-config dump DPkg::Pre-Install-Pkgs)" != 'DPkg::Pre-Install-Pkgs "";
DPkg::Pre-Install-Pkgs:: "/usr/sbin/dpkg-preconfigure --apt || true";' ] || say '#clear DPkg::Pre-Install-Pkgs;'
}
set_versions() {
  settings >"$STATE/apt.conf" || return 1
  apt -c "$STATE/apt.conf" -f $(reinstall) install $WANTED </dev/null
}
hold() { for NAME in $(names); do say "$NAME hold"; done | dpkg --set-selections; }
tell() { for NAME in $(names); do dpkg-query -W -f '@@seen ${Package} ${Version} (${db:Status-Abbrev})\n' "$NAME"; done; }
if ! right; then
  run_prepare
  known || refresh
  printf '%s\n' "$WANTED" >"$PENDING" && sync "$PENDING" && pin || failed
  if half_way; then dpkg --force-confdef --force-confold --configure -a </dev/null; fi
  drop_patches
  set_versions || { tell; failed; }
  right || { tell; exit 23; }
fi
hold || failed
run_configure
rm -f "$PENDING"
