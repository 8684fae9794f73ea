#!/usr/bin/env bash
# Writes the bill of materials of the broker, CycloneDX as JSON, beside its published files: deploy/sbom.sh out
set -euo pipefail
out=$(realpath "${1:?The folder of the published files is missing: deploy/sbom.sh out}")
cd "$(dirname "$0")/.."
version=$(sed -n 's:.*<Version>\(.*\)</Version>.*:\1:p' Dmb.csproj)
dotnet tool restore >/dev/null
dotnet restore Dmb.csproj >/dev/null
dotnet CycloneDX Dmb.csproj --disable-package-restore --output "$out" --filename dmb.cdx.json --output-format Json \
  --set-version "$version" >/dev/null
echo "$out/dmb.cdx.json"
