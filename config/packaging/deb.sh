#!/usr/bin/env bash
# Builds a Debian package of a program that is already built, without network:
#
#     cargo build --release --features kafka-tls && config/packaging/deb.sh target/release/trapline [FOLDER]
#
# Prints the package's path. Needs dpkg-deb; with dpkg-shlibdeps the dependencies are computed, else they are those of
# Debian 12. The same program gives the same bytes: SOURCE_DATE_EPOCH, else the time of the last commit, else 0.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:?the program to package}")
out=$(realpath "${2:-.}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
root=$work/root
version=$("$binary" --version | cut -d' ' -f2)
arch=$(dpkg --print-architecture)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || echo 0)}
date=$(date -u -R -d "@$SOURCE_DATE_EPOCH")
maintainer="${DEBFULLNAME:-trapline} <${DEBEMAIL:-trapline@example.org}>"
doc=$root/usr/share/doc/trapline

install -D -m 0755 "$binary" "$root/usr/bin/trapline"
# A release build is stripped already.
if command -v strip >/dev/null; then strip "$root/usr/bin/trapline"; fi
install -D -m 0644 "$here/trapline.service" "$root/lib/systemd/system/trapline.service"
install -D -m 0640 /dev/stdin "$root/etc/trapline/trapline.toml" \
  < <(sed 's|^#state_dir = |state_dir = |' "$here/../trapline.toml")

"$binary" man --out "$work/man"
for page in "$work"/man/*; do
  section=$root/usr/share/man/man${page##*.}
  mkdir -p "$section"
  gzip -9n <"$page" >"$section/$(basename "$page").gz"
done

install -d "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" \
  "$root/usr/share/fish/vendor_completions.d"
"$binary" completions bash >"$root/usr/share/bash-completion/completions/trapline"
"$binary" completions zsh >"$root/usr/share/zsh/vendor-completions/_trapline"
"$binary" completions fish >"$root/usr/share/fish/vendor_completions.d/trapline.fish"

install -D -m 0644 -t "$doc/examples" "$here"/../examples/*.toml
mkdir -p "$root/DEBIAN"
cat >"$doc/copyright" <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: trapline

Files: *
Copyright: 2026 the authors of trapline
License: Apache-2.0
 On Debian systems the full text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
END
printf 'trapline (%s) unstable; urgency=medium\n\n  * This version.\n\n -- %s  %s\n' "$version" "$maintainer" "$date" |
  gzip -9n >"$doc/changelog.gz"

depends="libc6 (>= 2.36), libgcc-s1 (>= 4.2)"
if command -v dpkg-shlibdeps >/dev/null; then
  mkdir -p "$work/debian"
  printf 'Source: trapline\n\nPackage: trapline\nArchitecture: any\n' >"$work/debian/control"
  depends=$(cd "$work" && dpkg-shlibdeps -O root/usr/bin/trapline 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
fi

cat >"$root/DEBIAN/control" <<END
Package: trapline
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends, adduser
Recommends: ca-certificates
Section: net
Priority: optional
Description: honeyport pipeline: every touch of a decoy, delivered
 Decoy listeners that no honest user has a reason to touch turn each contact
 into one durable event, and deliver it to files, syslog, Splunk and others.
END
echo /etc/trapline/trapline.toml >"$root/DEBIAN/conffiles"

cat >"$root/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
  if ! getent passwd trapline >/dev/null; then
    adduser --quiet --system --group --home /var/lib/trapline --no-create-home --gecos trapline trapline
  fi
  chgrp trapline /etc/trapline/trapline.toml
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # Not started by an install: the configuration comes first. One that runs goes on as the new version.
    if [ -n "$2" ]; then
      systemctl try-restart trapline.service || true
    fi
  fi
fi
END
cat >"$root/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl disable --now trapline.service || true
fi
END
cat >"$root/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
fi
# What was recorded goes only when all is to go.
if [ "$1" = purge ]; then
  rm -rf /var/lib/trapline
fi
END
chmod 0755 "$root"/DEBIAN/{postinst,prerm,postrm}
(cd "$root" && find . -type f -not -path './DEBIAN/*' -printf '%P\n' | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)

package=$out/trapline_${version}_$arch.deb
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "$package"
