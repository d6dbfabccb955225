# The life of the RPM packages on one system. Ends with "all well".
is() { [ "$1" = "$2" ] || { echo "line ${BASH_LINENO[0]}: $1, not $2" >&2; exit 1; }; }
owner() { stat -c '%U:%G %a' "$1"; }

# This system's libraries are not in RPM's own books.
rpm --install --nodeps /packages/*.rpm
triad --version >/dev/null
triad-office --version >/dev/null
is "$(getent passwd triad | cut -d: -f6)" /var/lib/triad
is "$(owner /etc/triad)" "root:triad 750"
is "$(owner /var/lib/triad)" "triad:triad 700"
is "$(owner /var/lib/triad-office)" "triad-office:triad-office 700"
touch /etc/triad/triad.toml /var/lib/triad/ledger
rpm --erase triad triad-office
[ ! -e /usr/bin/triad ]
[ ! -e /usr/lib/systemd/system/triad-office.service ]
[ -e /etc/triad/triad.toml ]
[ -e /var/lib/triad/ledger ]
echo "all well"
