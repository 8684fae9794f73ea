#!/usr/bin/env bash
# Makes the files of a release for one platform: deploy/release.sh linux-x64|linux-arm64 [FOLDER]. FOLDER, by default
# `dist`, gets an archive of the native program, the Debian package, and the bill of materials. It runs on that platform.
set -euo pipefail
platform=${1:?The platform is missing: linux-x64 or linux-arm64}
dist=$(realpath -m "${2:-dist}")
cd "$(dirname "$0")/.."
version=$(sed -n 's:.*<Version>\(.*\)</Version>.*:\1:p' Dmb.csproj)
name=dmb-$version-$platform
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

dotnet publish Dmb.csproj -p:PublishProfile=linux-x64-aot -r "$platform" -o "$work/out" --artifacts-path "$work/artifacts"
deploy/sbom.sh "$work/out"

mkdir -p "$dist" "$work/$name"
install -m 755 "$work/out/Dmb" "$work/$name/dmb"
cp LICENSE CHANGELOG.md deploy/dmb.service "$work/out/dmb.cdx.json" "$work/$name/"
time=$(git log -1 --format=%ct)
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$time" -cf - "$name" | gzip -9n >"$dist/$name.tar.gz"
cp "$work/out/dmb.cdx.json" "$dist/$name.cdx.json"
deploy/debian/build.sh "$work/out/Dmb" "$dist"
