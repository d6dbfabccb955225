//! What others' tools read of us: Kubernetes manifests and an Ansible playbook.

use std::path::Path;

use triad_tests::program::{repository, triad};

use crate::tools::{both, command, have, run};

/// The versions of Kubernetes whose schemas the manifests are held against.
const KUBERNETES: [&str; 2] = ["1.29", "1.36"];

fn validate(manifest: &Path, version: &str) -> Result<String, String> {
    let mut validate = command("kubernetes-validate");
    let output = validate.args(["--strict", "-k", version]).arg(manifest).output().unwrap();
    let (told, said) = both(&output);
    if output.status.success() { Ok(told + &said) } else { Err(told + &said) }
}

#[test]
fn the_manifests_are_valid() {
    if !have(&["kubernetes-validate"]) {
        return;
    }
    let manifest = repository().join("deploy/kubernetes/triad.yaml");
    for version in KUBERNETES {
        let said = validate(&manifest, version).unwrap();
        for kind in ["statefulset", "service", "poddisruptionbudget", "networkpolicy"] {
            assert!(said.contains(&format!("{kind}/triad")), "{said}");
        }
    }
    // The validator finds what is wrong.
    let text = std::fs::read_to_string(&manifest).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    std::fs::write(&wrong, text.replace("replicas: 3", "replica: 3")).unwrap();
    let said = validate(&wrong, KUBERNETES[0]).unwrap_err();
    assert!(said.contains("replica"), "{said}");
}

/// What the scheduler must know, whatever else is changed in the manifests.
#[test]
fn the_manifests_keep_the_nodes_apart_and_two_of_them_up() {
    let text = std::fs::read_to_string(repository().join("deploy/kubernetes/triad.yaml")).unwrap();
    for needed in [
        "replicas: 3",
        "maxUnavailable: 1",
        "clusterIP: None",
        "publishNotReadyAddresses: true",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "topologyKey: kubernetes.io/hostname",
        "readinessProbe:\n            httpGet: {path: /readyz, port: http, scheme: HTTPS}",
        "livenessProbe:\n            httpGet: {path: /healthz, port: http, scheme: HTTPS}",
        "runAsNonRoot: true",
    ] {
        assert!(text.contains(needed), "deploy/kubernetes/triad.yaml has no {needed}");
    }
}

/// The part for the administrator's own machine is run, twice: the second time
/// nothing is changed. The part for the hosts is read.
#[test]
fn the_playbook_makes_a_cluster_once() {
    if !have(&["ansible-playbook"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    run(command(triad()).args(["license", "keygen", "--out", "acme"]).current_dir(folder.path()));
    let playbook = || {
        let mut playbook = command("ansible-playbook");
        let path = playbook.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, path)| path);
        let path = path.unwrap_or_default().to_owned();
        let programs = std::env::join_paths(
            std::iter::once(triad().parent().unwrap().to_owned())
                .chain(std::env::split_paths(&path)),
        );
        playbook.env("PATH", programs.unwrap()).env("HOME", folder.path());
        playbook.current_dir(folder.path()).env("ANSIBLE_LOCALHOST_WARNING", "False");
        playbook.arg("-i").arg(repository().join("deploy/ansible/inventory.ini"));
        for (name, value) in
            [("triad_cluster", "cluster"), ("triad_publisher_key", "acme/publisher.public")]
        {
            let value = folder.path().join(value).display().to_string();
            playbook.args(["-e", &format!("{name}={value}")]);
        }
        playbook.arg(repository().join("deploy/ansible/triad.yml"));
        playbook
    };
    run(playbook().arg("--syntax-check"));
    let first = run(playbook().args(["--limit", "localhost"]));
    assert!(first.contains("changed=1 ") && first.contains("failed=0 "), "{first}");
    assert!(folder.path().join("cluster/lic-c/node-key.pem").exists());
    let again = run(playbook().args(["--limit", "localhost"]));
    assert!(again.contains("changed=0 ") && again.contains("failed=0 "), "{again}");
}
