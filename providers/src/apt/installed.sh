# Every wanted package is wholly installed at its version.
installed() {
  for WORD in $WANTED; do
    SEEN=$(dpkg-query -W -f '${db:Status-Abbrev}|${Version}' "${WORD%%=*}" 2>/dev/null)
    # Wanted, installed, no error: `ii ` or `hi `.
    case $SEEN in ?"i |${WORD#*=}") ;; *) return 1 ;; esac
  done
}
