#!/usr/bin/env bash
# Installs the tools that the tests and .ci/run use and that are missing, outside the tree:
# a Python with gRPC (the client in tests/python), buf (the proto style), cargo-deny (the
# dependencies), the system's tools with which tests/faults breaks networks, disks and clocks, valgrind
# (tests/instructions), cargo-fuzz (tests/fuzz), cargo-cyclonedx (deploy/sbom.sh), and what makes packages, images and the
# book, and tries them (tests/deploy). Quiet when all is there; without a network it says what is
# missing and goes on.
# With TRIAD_REQUIRE=all the tests then fail rather than skip.
set -euo pipefail

tools="${TRIAD_TOOLS:-${HOME:?set HOME or TRIAD_TOOLS}/.cache/triad-tools}"
mkdir -p "$tools"
log="$tools/setup.log"
missing=()

# ensure NAME CHECK INSTALL: runs the function INSTALL unless CHECK succeeds, and looks again.
ensure() {
    local name=$1 check=$2 install=$3
    "$check" >>"$log" 2>&1 && return
    echo "setup: installing $name into $tools"
    if ! { "$install" </dev/null >>"$log" 2>&1 && "$check" >>"$log" 2>&1; }; then
        missing+=("$name")
    fi
}

# apt PACKAGE...: only root can, and only where there is apt-get.
apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get || return 1
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$@"
}

has_grpc() { "$tools/venv/bin/python" -c 'import grpc, grpc_tools.protoc, google.rpc.status_pb2'; }
install_grpc() {
    command -v python3 || apt python3 python3-venv || return 1
    python3 -m venv --clear "$tools/venv" || { apt python3-venv && python3 -m venv --clear "$tools/venv"; } || return 1
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
}

has_buf() { "$tools/npm/node_modules/.bin/buf" --version; }
install_buf() {
    command -v npm || apt npm || return 1
    npm install --silent --no-fund --no-audit --prefix "$tools/npm" @bufbuild/buf@1.75.0
}

has_deny() { "$tools/bin/cargo-deny" --version; }
# From the tools' folder: the flags in this tree's .cargo/config.toml are not meant for it.
install_deny() { (cd "$tools" && cargo install --quiet --locked --root "$tools" cargo-deny --version 0.20.2); }

has_fuzz() { "$tools/bin/cargo-fuzz" --version; }
install_fuzz() { (cd "$tools" && cargo install --quiet --locked --root "$tools" cargo-fuzz --version 0.13.1); }

has_sbom() { "$tools/bin/cargo-cyclonedx" cyclonedx --help; }
install_sbom() { (cd "$tools" && cargo install --quiet --locked --root "$tools" cargo-cyclonedx --version 0.5.7); }

# A browser for the pages, and the rules of accessibility that they keep.
has_browser() { command -v chromium chromedriver && test -s "$tools/npm/node_modules/axe-core/axe.min.js"; }
install_browser() {
    command -v chromium && command -v chromedriver || apt chromium chromium-driver || return 1
    command -v npm || apt npm || return 1
    npm install --silent --no-fund --no-audit --prefix "$tools/npm" axe-core@4.14.1
}

# What reads our metrics and alerts.
has_promtool() { promtool --version; }
install_promtool() { apt --no-install-recommends prometheus; }

# What tests/faults needs of Linux. Only root can use it, so only root needs it.
has_lab() {
    [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] || return 0
    ip -V && ss --version && nft --version && nsenter --version && losetup --version &&
        command -v mkfs.ext4 cc && ls /usr/lib/*/faketime/libfaketimeMT.so.1
}
install_lab() { apt iproute2 nftables util-linux mount e2fsprogs gcc libc6-dev libfaketime; }

# The shells that complete our command lines.
has_shells() { bash --version && fish --version && zsh --version; }
install_shells() { apt --no-install-recommends fish zsh; }

# A terminal for `triad top`.
has_tmux() { tmux -V; }
install_tmux() { apt tmux; }

# Counts the system calls of `triad bench --syscalls`.
has_strace() { strace --version; }
install_strace() { apt strace; }

# Debug builds with a little optimisation: quick to install, quick enough to use.
quick_install() {
    (cd "$tools" && CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo install --debug --quiet --locked --root "$tools" "$@")
}
# What counts instructions (tests/instructions).
has_valgrind() { valgrind --version; }
install_valgrind() { apt valgrind; }
has_cargo_deb() { "$tools/bin/cargo-deb" --version; }
install_cargo_deb() { quick_install cargo-deb --version 3.8.0; }
has_cargo_rpm() { "$tools/bin/cargo-generate-rpm" --version; }
install_cargo_rpm() { quick_install cargo-generate-rpm --version 0.21.0; }
has_mdbook() { "$tools/bin/mdbook" --version; }
install_mdbook() { quick_install mdbook --version 0.5.4 --no-default-features; }

# What reads manifests and playbooks without a cluster or a host.
has_manifests() { "$tools/venv/bin/kubernetes-validate" --version && "$tools/venv/bin/ansible-playbook" --version; }
install_manifests() {
    has_grpc || install_grpc || return 1
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r "$manifests"
}

# What tests/deploy needs: Debian's own tools, docker, and a small Debian with systemd for containers.
# Only root can use it, so only root needs it.
has_deploy() {
    [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] || return 0
    command -v dpkg-deb dpkg-shlibdeps lintian rpm systemd-analyze dockerd docker docker-compose &&
        command -v setpriv unshare && test -s "$tools/debian.tar"
}
install_deploy() {
    apt dpkg-dev lintian rpm systemd util-linux docker.io docker-compose debootstrap || return 1
    rm -rf "$tools/debian" &&
        debootstrap --variant=minbase --include=systemd-sysv,sudo bookworm "$tools/debian" &&
        tar -C "$tools/debian" --exclude=./var/cache/apt --exclude=./usr/share/doc --exclude=./usr/share/locale \
            -cf "$tools/debian.tar.new" . &&
        mv "$tools/debian.tar.new" "$tools/debian.tar" && rm -rf "$tools/debian"
}

requirements="$(cd "$(dirname "$0")" && pwd)/python/requirements.txt"
manifests="$(cd "$(dirname "$0")" && pwd)/deploy/requirements.txt"
: >"$log"
ensure "Python with gRPC" has_grpc install_grpc
ensure buf has_buf install_buf
ensure "tools of the lab" has_lab install_lab
ensure "a browser and axe-core" has_browser install_browser
ensure tmux has_tmux install_tmux
ensure strace has_strace install_strace
ensure shells has_shells install_shells
ensure promtool has_promtool install_promtool
ensure valgrind has_valgrind install_valgrind
ensure cargo-deny has_deny install_deny
ensure cargo-fuzz has_fuzz install_fuzz
ensure cargo-cyclonedx has_sbom install_sbom
ensure cargo-deb has_cargo_deb install_cargo_deb
ensure cargo-generate-rpm has_cargo_rpm install_cargo_rpm
ensure mdbook has_mdbook install_mdbook
ensure "readers of manifests" has_manifests install_manifests
ensure "tools of tests/deploy" has_deploy install_deploy

if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: could not install: $(printf '%s, ' "${missing[@]}" | sed 's/, $//')."
    echo "setup: is there a network? The log is $log. What needs them is skipped, or fails with TRIAD_REQUIRE=all."
fi
