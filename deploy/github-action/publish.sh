#!/usr/bin/env bash
# Implements the action. Inputs are environment variables, so that the shell does not interpret them.
set -euo pipefail

lines() { grep -v '^[[:space:]]*$' <<< "$1" || true; }

imgsrv=imgsrv
if [ -n "${BINARY_URL:-}" ]; then
  imgsrv=${RUNNER_TEMP:-/tmp}/imgsrv
  curl --proto '=https' -fsSL --retry 5 -o "$imgsrv" "$BINARY_URL"
  sha256sum --check --quiet <<< "${BINARY_SHA256:?binary-sha256 must be the digest of the file at binary-url}  $imgsrv"
  chmod +x "$imgsrv"
fi

mapfile -t files < <(lines "$FILES")
mapfile -t aliases < <(lines "${ALIASES:-}")
mapfile -t arguments < <(lines "${ARGUMENTS:-}")
publish=(publish --server "$SERVER" "--oidc-github=${AUDIENCE:-}" --json "${arguments[@]}")
for alias in "${aliases[@]}"; do
  publish+=(--alias "$alias")
done
json=$("$imgsrv" "${publish[@]}" -- "$IMAGE" "$VERSION" "${files[@]}")
echo "$json"
echo "json=$json" >> "${GITHUB_OUTPUT:-/dev/null}"
