#!/bin/sh
# Makes the lab in the folder /lab, once: a publisher, a cluster of three nodes that trusts it, and a
# license of ten seats of `solver` for it. A second run changes nothing.
set -e
cd /lab

[ -e acme/publisher.secret ] || triad license keygen --out acme
triad init --dir . --publisher-key acme/publisher.public \
    --node lic-a=lic-a:27070 --node lic-b=lic-b:27070 --node lic-c=lic-c:27070
[ -e lab.lic ] && exit 0

cat >terms.toml <<END
license = "lab"
publisher = "Acme"
serial = 1

[binding]
cluster = "$(sed -n 's/^cluster_id = "\(.*\)"/\1/p' lic-a/triad.toml)"

[[feature]]
name = "solver"
version = "2026.1"
seats = 10
expires = "permanent"
END
triad license issue --key acme/publisher.secret terms.toml --out lab.lic
