# The cluster with which a session begins: three nodes, a license, and one seat held.
(
    triad license keygen --out acme
    triad init --dir lab --publisher-key acme/publisher.public \
        --node a=localhost:27070 --node b=localhost:27170 --node c=localhost:27270
) >../cluster.log 2>&1
for node in a b c; do
    triad serve --config lab/$node/triad.toml >>../cluster.log 2>&1 &
done
export TRIAD_SERVERS=localhost:27070,localhost:27170,localhost:27270
export TRIAD_CA=lab/ca/ca.pem TRIAD_TOKEN_FILE=lab/admin.token
until triad status >>../cluster.log 2>&1; do sleep 0.2; done
cat >../terms.toml <<END
license = "book"
publisher = "Acme"
serial = 1

[binding]
cluster = "$(grep -o 'tc-[0-9a-f]*' lab/a/triad.toml)"

[[feature]]
name = "solver"
version = "2026.1"
seats = 2
expires = "permanent"
borrow = "168h"
END
triad license issue --key acme/publisher.secret ../terms.toml --out acme.lic
triad license apply acme.lic >>../cluster.log 2>&1

# What the pages speak of.
cat >acme.opt <<END
GROUP cfd ann ben
RESERVE 1 solver GROUP cfd
EXCLUDE solver USER guest
REPORTLOG +/var/log/acme.rl
END
cat >old.lic <<END
SERVER lic1 001122334455 27000
VENDOR acme
FEATURE solver acme 2026.1 31-dec-2030 40 SIGN="0000"
END
