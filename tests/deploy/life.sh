# The life of the Debian packages on one system. Ends with "all well".
is() { [ "$1" = "$2" ] || { echo "line ${BASH_LINENO[0]}: $1, not $2" >&2; exit 1; }; }
there() { for path; do [ -e "$path" ] || { echo "line ${BASH_LINENO[0]}: no $path" >&2; exit 1; }; done; }
gone() { for path; do [ ! -e "$path" ] || { echo "line ${BASH_LINENO[0]}: $path is there" >&2; exit 1; }; done; }
owner() { stat -c '%U:%G %a' "$1"; }

# Installed: the user, the folders, and nothing that starts.
dpkg --install /packages/triad_*.deb /packages/triad-office_*.deb >/dev/null
triad --version >/dev/null
triad-office --version >/dev/null
is "$(getent passwd triad | cut -d: -f6,7)" /var/lib/triad:/usr/sbin/nologin
is "$(owner /etc/triad)" "root:triad 750"
is "$(owner /var/lib/triad)" "triad:triad 700"
is "$(owner /var/lib/triad-office)" "triad-office:triad-office 700"
gone /etc/systemd/system/multi-user.target.wants/triad.service /etc/triad/triad.toml
gone /etc/systemd/system/multi-user.target.wants/triad-office.service
is "$(pgrep -xc 'triad|triad-office' || true)" 0

# A node as `triad init` makes it, its data, and an administrator's own choices.
triad init --dir /cluster --node a=localhost:27070 --data-dir /var/lib/triad >/dev/null
install -o root -g triad -m 0640 /cluster/a/triad.toml /cluster/a/*.pem /etc/triad/
install -o triad -g triad -m 0600 /dev/null /var/lib/triad/ledger
chmod 0755 /etc/triad
echo 'TRIAD_LOG=debug' >>/etc/default/triad
install -d /var/lib/triad-office/keys
touch /var/lib/triad-office/keys/1 /var/lib/triad-office/office.db

# Upgraded: all of that is as it was.
dpkg-deb --raw-extract /packages/triad_*.deb /newer
sed -i 's/^Version: .*/Version: 99-1/' /newer/DEBIAN/control
dpkg-deb -Znone --build /newer /newer.deb >/dev/null
dpkg --force-confold --install /newer.deb >/dev/null
is "$(dpkg-query -f '${Version}' -W triad)" 99-1
is "$(owner /etc/triad)" "root:triad 755"
is "$(owner /etc/triad/node-key.pem)" "root:triad 640"
is "$(owner /var/lib/triad/ledger)" "triad:triad 600"
is "$(tail -n 1 /etc/default/triad)" TRIAD_LOG=debug

# Removed: the programs go, what belongs to the site stays.
dpkg --remove triad triad-office >/dev/null 2>&1
gone /usr/bin/triad /usr/bin/triad-office /usr/lib/systemd/system/triad.service
is "$(tail -n 1 /etc/default/triad)" TRIAD_LOG=debug
there /etc/triad/node-key.pem /var/lib/triad/ledger /var/lib/triad-office/office.db

# Purged: all of it goes, but for the publisher's keys.
dpkg --purge triad triad-office >/dev/null 2>&1
gone /etc/triad /var/lib/triad /etc/default/triad /var/lib/triad-office/office.db
there /var/lib/triad-office/keys/1
echo "all well"
