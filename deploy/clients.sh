#!/usr/bin/env bash
# Packs the clients for a release: deploy/clients.sh [FOLDER]. FOLDER, by default `dist`, gets the npm package, named
# NPM_NAME where that is set, and the NuGet package.
set -euo pipefail
dist=$(realpath -m "${1:-dist}")
cd "$(dirname "$0")/../clients"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$dist"

# A copy: the name is that of the release, not of the repository.
tar -C js --exclude node_modules --exclude types -cf - . | tar -C "$work" -xf -
(
  cd "$work"
  npm ci --no-audit --no-fund --ignore-scripts --loglevel error
  [[ -z ${NPM_NAME:-} ]] || npm pkg set name="$NPM_NAME"
  npm pack --silent --pack-destination "$dist"
)
dotnet pack dotnet/Dmb.Client.csproj -c Release -o "$dist" -p:BaseOutputPath="$work/bin/" --nologo -v quiet
