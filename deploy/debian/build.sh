#!/usr/bin/env bash
# Builds the Debian package dmb: deploy/debian/build.sh [PROGRAM [FOLDER]]. PROGRAM is a native Dmb that is published
# already; without it, it is published here. The package is put into FOLDER, by default `out`. VERSION is the package's
# version, by default that of Dmb.csproj.
set -euo pipefail
program=${1:+$(realpath "$1")} out=${2:+$(realpath -m "$2")}
cd "$(dirname "$0")/../.."
here=deploy/debian out=${out:-$PWD/out}
version=${VERSION:-$(sed -n 's:.*<Version>\(.*\)</Version>.*:\1:p' Dmb.csproj)}

if [[ -z $program ]]; then
  dotnet publish Dmb.csproj -p:PublishProfile=linux-x64-aot -o "$out"
  program=$out/Dmb
fi

# The machine field of the ELF header.
case $(od -An -tu2 -j18 -N2 "$program" | tr -d ' ') in
  62) architecture=amd64 ;;
  183) architecture=arm64 ;;
  *)
    echo "$program is no program for x64 or arm64." >&2
    exit 1
    ;;
esac

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

install -D -m 755 "$program" "$root/usr/bin/dmb"
install -D -m 640 $here/default "$root/etc/default/dmb"
install -d -m 750 "$root/etc/dmb"
install -d "$root/lib/systemd/system" "$root/usr/share/man/man1" "$root/usr/share/doc/dmb"
# The unit for a published folder, with a user of its own that files of keys can belong to.
sed -e 1d -e 's:/opt/dmb/Dmb:/usr/bin/dmb:' -e 's:=/opt/dmb$:=/etc/dmb:' -e 's:^DynamicUser=yes:User=dmb\nGroup=dmb:' \
  deploy/dmb.service >"$root/lib/systemd/system/dmb.service"
sed "s:@VERSION@:$version:" $here/dmb.1 | gzip -9n >"$root/usr/share/man/man1/dmb.1.gz"
gzip -9nc CHANGELOG.md >"$root/usr/share/doc/dmb/changelog.gz"
{
  printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n'
  sed -n 's/^Copyright (c) /Copyright: /p' LICENSE
  printf 'License: Expat\n'
  sed -e '1,4d' -e 's/^$/./' -e 's/^/ /' LICENSE
} >"$root/usr/share/doc/dmb/copyright"
if [[ -e ${program%/*}/dmb.cdx.json ]]; then
  install -m 644 "${program%/*}/dmb.cdx.json" "$root/usr/share/doc/dmb/"
fi
# Outside of /usr/share/doc, which images of containers leave out.
install -d "$root/usr/share/dmb"
for preset in kamailio opensips freeswitch asterisk; do
  cp -r "deploy/$preset" "$root/usr/share/dmb/"
done
cp deploy/dmb_publisher.py deploy/nginx.conf deploy/apache.conf deploy/alerts.yaml deploy/grafana.json "$root/usr/share/dmb/"
find "$root/usr/share" -name __pycache__ -prune -exec rm -r {} +
chmod -R u=rwX,go=rX "$root/usr/share"

install -d "$root/DEBIAN"
install -m 755 $here/postinst $here/prerm $here/postrm "$root/DEBIAN/"
echo /etc/default/dmb >"$root/DEBIAN/conffiles"
(cd "$root" && find lib usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
# The newest version of glibc that a symbol asks for.
libc=$(grep -ao 'GLIBC_2\.[0-9]*' "$program" | sort -Vu | tail -1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@LIBC@/${libc#GLIBC_}/" \
  -e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$root" | cut -f1)/" $here/control >"$root/DEBIAN/control"

mkdir -p "$out"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)} \
  dpkg-deb --root-owner-group -Zxz --build "$root" "$out/dmb_${version}_$architecture.deb" >/dev/null
echo "$out/dmb_${version}_$architecture.deb"
