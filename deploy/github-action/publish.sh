#!/usr/bin/env bash
# What the action does. Inputs come as variables, so that nothing in them is taken for shell.
set -euo pipefail

lines() { grep -v '^[[:space:]]*$' <<< "$1" || true; }

imgsrv=imgsrv
if [ -n "${BINARY_URL:-}" ]; then
  imgsrv=${RUNNER_TEMP:-/tmp}/imgsrv
  curl --proto '=https' -fsSL --retry 5 -o "$imgsrv" "$BINARY_URL"
  sha256sum --check --quiet <<< "${BINARY_SHA256:?binary-sha256 must say what binary-url downloads}  $imgsrv"
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
