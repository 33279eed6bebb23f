while IFS= read -r NONCE; do
  ANSWER=$(unset NONCE; look </dev/null)
  STATUS=$?
  printf '\n@@%s %s\n' "$NONCE" "$STATUS" >&2
  printf '%s\n\n@@%s %s\n' "$ANSWER" "$NONCE" "$STATUS"
done
