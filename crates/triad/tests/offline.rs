//! The verbs that need no server, and what happens when none is there.

// What fails here fails the test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};

use assert_cmd::Command;
use serde_json::Value;

const TERMS: &str = r#"license = "acme-2026"
publisher = "Acme"
serial = 3

[binding]
cluster = "tc-0123456789abcdef0123456789abcdef"

[[feature]]
name = "solver"
version = "2026.1"
seats = 40
expires = "permanent"
"#;

/// `triad` in `directory`, with nothing of the environment that could change it.
fn triad(directory: &Path) -> Command {
    let mut command = Command::cargo_bin("triad").unwrap();
    command.current_dir(directory);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TRIAD_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a line of words, and expects this exit code.
#[track_caller]
fn run(directory: &Path, line: &str, code: i32) -> (String, String) {
    let Output { status, stdout, stderr } =
        triad(directory).args(line.split_whitespace()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{line}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A directory with a key below `acme` and a license `acme.lic`.
fn publisher() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("terms.toml"), TERMS).unwrap();
    run(home.path(), "license keygen --out acme", 0);
    let issue = "license issue --key acme/publisher.secret terms.toml --out acme.lic";
    run(home.path(), issue, 0);
    home
}

#[test]
fn a_license_from_key_to_verification() {
    let home = publisher();
    let (shown, _) = run(home.path(), "license show acme.lic", 0);
    assert!(shown.starts_with("UNVERIFIED"), "{shown}");
    assert!(shown.contains("acme-2026, serial 3") && shown.contains("solver"), "{shown}");

    let verify = "license verify acme.lic --key acme/publisher.public";
    let (verified, _) = run(home.path(), verify, 0);
    assert!(verified.starts_with("SIGNED"), "{verified}");
    let line = fs::read_to_string(home.path().join("acme/publisher.public")).unwrap();
    run(home.path(), &format!("license verify acme.lic --key {line}"), 0);

    let cluster = "--cluster tc-0123456789abcdef0123456789abcdef";
    let (verified, _) = run(home.path(), &format!("{verify} {cluster} -o json"), 0);
    let verified = json(&verified);
    assert_eq!(verified["standing"], "verified");
    assert_eq!(verified["features"][0]["seats"], 40);
    let (_, error) = run(home.path(), &format!("{verify} --cluster tc-other"), 1);
    assert!(error.starts_with("error[TRD-5005]: acme.lic: "), "{error}");

    // Bound to machines: which of them a site has, its nodes know.
    let hosts = "hostids = [\"STRING:a\", \"STRING:b\", \"STRING:c\"]";
    let bound = TERMS.replace("cluster = \"tc-0123456789abcdef0123456789abcdef\"", hosts);
    fs::write(home.path().join("hosts.toml"), bound).unwrap();
    let issue = "license issue --key acme/publisher.secret hosts.toml --out hosts.lic";
    run(home.path(), issue, 0);
    let verify = "license verify hosts.lic --key acme/publisher.public";
    let (signed, warned) = run(home.path(), &format!("{verify} {cluster}"), 0);
    assert!(signed.starts_with("SIGNED"), "{signed}");
    assert!(warned.contains("STRING:b") && warned.contains("none was looked at"), "{warned}");
}

#[test]
fn a_license_goes_to_stdout_when_no_file_is_named() {
    let home = publisher();
    let (document, _) = run(home.path(), "license issue --key acme/publisher.secret terms.toml", 0);
    assert_eq!(document, fs::read_to_string(home.path().join("acme.lic")).unwrap());
}

#[test]
fn a_license_of_two_keys_is_good_for_either() {
    let home = publisher();
    run(home.path(), "license keygen --out next", 0);
    let issue = "license issue --key acme/publisher.secret --key next/publisher.secret terms.toml \
                 --out both.lic";
    run(home.path(), issue, 0);
    for key in ["acme", "next"] {
        run(home.path(), &format!("license verify both.lic --key {key}/publisher.public"), 0);
    }
}

#[test]
fn an_altered_or_foreign_license_is_told_apart() {
    let home = publisher();
    let path = home.path().join("acme.lic");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("seats = 40", "seats = 41")).unwrap();
    let verify = "license verify acme.lic --key acme/publisher.public";
    let (_, error) = run(home.path(), verify, 1);
    assert!(error.starts_with("error[TRD-5002]: acme.lic: "), "{error}");
    assert!(error.ends_with("  more: triad explain TRD-5002\n"), "{error}");

    fs::write(&path, &good).unwrap();
    run(home.path(), "license keygen --out other", 0);
    let (_, error) = run(home.path(), "license verify acme.lic --key other/publisher.public", 1);
    assert!(error.starts_with("error[TRD-5003]"), "{error}");

    fs::write(home.path().join("other.lic"), "FEATURE cad acme 1.0 permanent 2\n").unwrap();
    let (_, error) = run(home.path(), "license show other.lic", 1);
    assert!(error.contains("other.lic: line 1, column 1: this is not a license"), "{error}");

    fs::write(&path, good.replace("-----SIGNATURE-----", "")).unwrap();
    let (_, error) = run(home.path(), "license show acme.lic", 1);
    assert!(error.starts_with("error[TRD-5001]: acme.lic: line"), "{error}");
}

#[test]
fn keys_are_never_overwritten_and_secrets_are_their_owners() {
    let home = publisher();
    let secret = home.path().join("acme/publisher.secret");
    let before = fs::read(&secret).unwrap();
    let (_, error) = run(home.path(), "license keygen --out acme", 1);
    assert!(error.contains("publisher.secret exists"), "{error}");
    let (_, error) = run(
        home.path(),
        "license issue --key acme/publisher.secret terms.toml --out acme/publisher.secret",
        1,
    );
    assert!(error.contains("not overwritten"), "{error}");
    assert_eq!(fs::read(&secret).unwrap(), before);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_secret_key_is_not_taken_for_a_public_one() {
    let home = publisher();
    let secret = fs::read_to_string(home.path().join("acme/publisher.secret")).unwrap();
    let (_, error) = run(home.path(), "license verify acme.lic --key acme/publisher.secret", 1);
    assert!(error.contains("secret key"), "{error}");
    assert!(!error.contains(secret.trim()), "{error}");
}

#[test]
fn a_cluster_is_made_once() {
    let home = publisher();
    let init = "init --dir cluster --node a=lic-a:27070,b=lic-b:27070 --node c=lic-c:27070 \
                --publisher-key acme/publisher.public";
    let (made, _) = run(home.path(), &format!("{init} -o json"), 0);
    let made = json(&made);
    assert_eq!(made["nodes"].as_array().unwrap().len(), 3);
    let config = fs::read_to_string(home.path().join("cluster/b/triad.toml")).unwrap();
    let public = fs::read_to_string(home.path().join("acme/publisher.public")).unwrap();
    assert!(config.contains(public.trim()), "{config}");
    assert!(config.contains(made["clusterId"].as_str().unwrap()), "{config}");
    let (again, _) = run(home.path(), init, 0);
    assert!(again.starts_with("unchanged: cluster "), "{again}");
}

/// What a tool that makes hosts alike needs: the second run changes nothing, and
/// says so; another cluster is never taken for the same one.
#[test]
fn init_makes_a_cluster_once() {
    let home = publisher();
    let init = "init --dir d --node a=localhost:27070,b=localhost:27170 -o json \
                --publisher-key acme/publisher.public --data-dir /var/lib/triad";
    let (made, _) = run(home.path(), init, 0);
    assert_eq!(json(&made)["changed"], true);
    let config = fs::read_to_string(home.path().join("d/b/triad.toml")).unwrap();
    assert!(config.contains("data_dir = \"/var/lib/triad\""), "{config}");
    let tree = |folder: &str| fs::read(home.path().join("d").join(folder)).unwrap();
    let before = ["a/node-key.pem", "admin.token", "ca/ca-key.pem"].map(tree);

    let (again, _) = run(home.path(), init, 0);
    assert_eq!(json(&again)["changed"], false);
    assert_eq!(json(&again)["clusterId"], json(&made)["clusterId"]);
    assert_eq!(["a/node-key.pem", "admin.token", "ca/ca-key.pem"].map(tree), before);
    let (text, _) = run(home.path(), "init --dir d --node a=localhost:27070,b=localhost:27170", 0);
    assert!(text.starts_with("unchanged: cluster tc-"), "{text}");

    for (nodes, said) in [
        ("a=localhost:27070", "it has 2 nodes, not 1"),
        ("a=localhost:27070,b=localhost:27270", "node 2 is b at localhost:27170"),
        ("a=localhost:27070,c=localhost:27170", "not c at localhost:27170"),
        ("a=localhost:27070,b=localhost:27170 --tls off", "its connections are encrypted"),
        ("a=localhost:27070,b=localhost:27170 --pair", "it is not one of a pair"),
    ] {
        let (_, error) = run(home.path(), &format!("init --dir d --node {nodes}"), 1);
        assert!(error.contains(said) && error.contains("another cluster"), "{nodes}: {error}");
    }
}

#[test]
fn init_says_what_to_do_next() {
    let home = tempfile::tempdir().unwrap();
    let (text, _) = run(home.path(), "init --dir d --node a=localhost:27070", 0);
    for line in
        ["triad serve --config d/a/triad.toml", "export TRIAD_CA=d/ca/ca.pem", "publisher_keys"]
    {
        assert!(text.contains(line), "{text}");
    }
    let (text, warning) =
        run(home.path(), "init --dir plain --node a=localhost:27070 --tls off", 0);
    assert!(text.contains("TRIAD_TLS=off") && warning.starts_with("warning: "), "{text}{warning}");
    let config = fs::read_to_string(home.path().join("plain/a/triad.toml")).unwrap();
    assert!(config.contains("mode = \"off\""), "{config}");
}

const OPTIONS: &str = "\
# Engineering
REPORTLOG +/var/log/acme.rl
GROUP cfd anna ben
RESERVE 2 solver GROUP cfd
EXCLUDE solver USER guest*
RESERV 1 viewer USER dora
";

#[test]
fn a_policy_is_checked_and_compared_without_a_server() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(home.path().join(name), text).unwrap();
    write("old.toml", "[[max]]\nfeature = \"solver\"\nuser = \"ann\"\nseats = 2\n");
    write("new.toml", "[[max]]\nfeature = \"solver\"\nuser = \"ann\"\nseats = 3\n");
    write(
        "bad.toml",
        "[[max]]\nfeature = \"solver\"\ngroup = \"cdf\"\n[groups]\ncfd = [\"ann\"]\n",
    );

    let (text, _) = run(home.path(), "policy check old.toml", 0);
    assert_eq!(text, "old.toml: no mistakes found; not compared with what is licensed\n");
    let (text, _) = run(home.path(), "policy check bad.toml", 1);
    for told in ["--> bad.toml:3:9\n", "^^^^^", "did you mean \"cfd\"?", "bad.toml: 2 errors"] {
        assert!(text.contains(told), "{told}\n{text}");
    }
    let (text, _) = run(home.path(), "policy check bad.toml -o json", 1);
    let found = json(&text);
    assert_eq!((&found["errors"], &found["comparedWithLicenses"]), (&2.into(), &false.into()));
    assert!(found["findings"].as_array().unwrap().iter().any(|f| f["code"] == "unknown-group"));
    let (_, error) = run(home.path(), "policy check old.toml --online", 2);
    assert!(error.contains("TRIAD_SERVERS"), "{error}");

    let (text, _) = run(home.path(), "policy diff old.toml new.toml", 0);
    assert!(text.starts_with("~ max solver user ann: 2 seats -> 3 seats"), "{text}");
    let (text, _) = run(home.path(), "policy diff old.toml old.toml", 0);
    assert_eq!(text, "no change\n");
    for verb in ["diff bad.toml new.toml", "diff new.toml bad.toml", "apply bad.toml"] {
        let (text, error) = run(home.path(), &format!("policy {verb}"), 1);
        assert!(text.is_empty() && error.contains("bad.toml: 2 errors; it cannot be applied"));
    }
}

#[test]
fn a_policy_is_checked_although_no_server_answers() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("p.toml"), "[groups]\nnobody = []\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = format!("--servers {} --tls off", listener.local_addr().unwrap());
    drop(listener);
    let (text, warning) = run(home.path(), &format!("policy check p.toml {options}"), 0);
    assert!(text.contains("p.toml: 1 warning"), "{text}");
    assert!(warning.starts_with("warning: not compared with what is licensed: no server answers"));
    run(home.path(), &format!("policy check p.toml --online {options}"), 5);
    let (_, warning) = run(home.path(), &format!("policy check p.toml --offline {options}"), 0);
    assert_eq!(warning, "");
}

/// Two tokens are one too many: which counts is said, once.
#[test]
fn of_two_tokens_the_one_that_is_itself_counts() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = format!("--servers {} --tls off", listener.local_addr().unwrap());
    drop(listener);
    let mut command = triad(home.path());
    command.env("TRIAD_TOKEN", "tat_abc").env("TRIAD_TOKEN_FILE", "missing.token");
    let told = command.arg("checkouts").args(options.split_whitespace()).output().unwrap();
    let stderr = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(5), "{stderr}");
    assert!(!stderr.contains("missing.token"), "{stderr}");
    assert_eq!(stderr.matches("are both set, and the first counts").count(), 1, "{stderr}");
}

#[test]
fn an_options_file_becomes_a_policy_and_a_report() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("acme.opt"), OPTIONS).unwrap();
    let (policy, report) = run(home.path(), "policy import acme.opt", 0);
    assert!(policy.contains("[[reserve]]\nfeature = \"solver\"\ngroup = \"cfd\"\nseats = 2"));
    assert!(report.contains("5  NOT CARRIED   EXCLUDE solver USER guest*"), "{report}");
    assert!(report.contains("did you mean RESERVE?") && !report.contains("carried over  RESERVE"));

    let (report, _) = run(home.path(), "policy import acme.opt --out p.toml --all", 0);
    assert!(report.contains("4  carried over  RESERVE 2 solver GROUP cfd"), "{report}");
    assert!(report.ends_with("next: triad policy check p.toml\n"), "{report}");
    assert_eq!(fs::read_to_string(home.path().join("p.toml")).unwrap(), policy);
    run(home.path(), "policy check p.toml", 0);
    let (_, error) = run(home.path(), "policy import acme.opt --out p.toml", 1);
    assert!(error.contains("p.toml exists, and is not overwritten"), "{error}");
    let (text, _) = run(home.path(), "policy import acme.opt -o json", 0);
    let import = json(&text);
    assert_eq!(import["policy"], policy.as_str());
    assert_eq!(import["entries"][4]["fate"], "not_carried");
}

#[test]
fn licenses_are_compared_and_brought_along_without_a_server() {
    let home = publisher();
    fs::write(home.path().join("more.toml"), TERMS.replace("= 40", "= 44").replace("= 3", "= 4"))
        .unwrap();
    run(home.path(), "license issue --key acme/publisher.secret more.toml --out more.lic", 0);
    let (text, _) = run(home.path(), "license diff acme.lic more.lic", 0);
    assert!(text.starts_with("~ serial: 3 -> 4\n~ solver, "), "{text}");
    assert!(text.ends_with("40 seats -> 44 seats\n"), "{text}");
    let (text, _) = run(home.path(), "license diff acme.lic acme.lic -o json", 0);
    assert_eq!(json(&text)["changes"], serde_json::json!([]));

    let old = "SERVER lic 001122334455 27000\nVENDOR acme\nINCREMENT solver acme 2026.1 \
               31-dec-2026 40 SIGN=0\nNONSENSE x\n";
    fs::write(home.path().join("old.lic"), old).unwrap();
    let (report, _) = run(home.path(), "license convert old.lic --out terms2.toml", 0);
    assert!(report.contains("4  NOT CARRIED   NONSENSE x"), "{report}");
    let terms = fs::read_to_string(home.path().join("terms2.toml")).unwrap();
    assert!(terms.contains("name = \"solver\"") && terms.contains("seats = 40"), "{terms}");
}

#[test]
fn nothing_is_taken_from_anybody_where_nobody_can_be_asked() {
    let home = tempfile::tempdir().unwrap();
    for verb in ["checkouts revoke 17 --block 10m", "borrow lost 17"] {
        let (_, error) = run(home.path(), verb, 2);
        assert!(error.contains("no terminal to ask on") && error.contains("--dry-run"), "{error}");
        let (_, error) = run(home.path(), &format!("{verb} --yes"), 2);
        assert!(error.contains("no servers are named"), "{error}");
        let (_, error) = run(home.path(), &verb.replace("17", "solver"), 2);
        assert!(error.contains("by its number, such as 17"), "{error}");
    }
}

#[test]
fn lists_are_printed_for_spreadsheets_and_other_answers_are_not() {
    let home = publisher();
    let (text, _) = run(home.path(), "explain -o csv", 0);
    assert!(text.starts_with("code,name,flexnet,meaning\n"), "{text}");
    assert!(text.contains("TRD-2001,LICENSES_EXHAUSTED,'-4,\"Every seat"), "{text}");
    let (text, _) = run(home.path(), "explain -o jsonl", 0);
    assert!(text.lines().all(|line| json(line)["code"].as_str().unwrap().starts_with("TRD-")));
    let (text, _) = run(home.path(), "license show acme.lic -o jsonl", 0);
    assert_eq!((text.lines().count(), &json(&text)["serial"]), (1, &3.into()));
    for verb in ["status", "license apply acme.lic", "explain -4", "policy show"] {
        let (_, error) = run(home.path(), &format!("{verb} -o csv"), 2);
        assert!(error.contains("cannot be CSV"), "{verb}: {error}");
    }
}

#[test]
fn every_code_is_explained() {
    let home = tempfile::tempdir().unwrap();
    let (all, _) = run(home.path(), "explain -o json", 0);
    let all = json(&all);
    let reasons = all["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), triad_proto::v1::Reason::ALL.len());
    for reason in reasons {
        let (code, name) = (reason["code"].as_str().unwrap(), reason["name"].as_str().unwrap());
        let (text, _) = run(home.path(), &format!("explain {code}"), 0);
        assert!(text.starts_with(&format!("{code} {name}")), "{text}");
        assert!(text.contains("What to do: "), "{text}");
    }
    let (text, _) = run(home.path(), "explain -4", 0);
    assert!(text.starts_with("TRD-2001 LICENSES_EXHAUSTED (FlexNet -4)"), "{text}");
    let (_, error) = run(home.path(), "explain NO_QORUM", 2);
    assert!(error.contains("did you mean NO_QUORUM?"), "{error}");
}

#[test]
fn a_misspelt_command_line_is_a_usage_error_with_a_suggestion() {
    let home = tempfile::tempdir().unwrap();
    let (_, error) = run(home.path(), "staus", 2);
    assert!(error.contains("'status'"), "{error}");
    let (_, error) = run(home.path(), "status --server a:1", 2);
    assert!(error.contains("'--servers'"), "{error}");
    let (_, error) = run(home.path(), "events --kind denyed", 2);
    assert!(error.contains("'denied'"), "{error}");
    for line in [
        "",
        "status --timeout 5",
        "status -o xml",
        "run --feature f",
        "init --dir d",
        "events --since yesterday",
        "events --until 2h --follow",
        "checkouts --feature f revoke 17",
        "explain TRD-2001 --feature f",
    ] {
        run(home.path(), line, 2);
    }
    let (_, error) = run(home.path(), "init --dir d --node lic-a", 2);
    assert!(error.contains("write name=host:port"), "{error}");
}

#[test]
fn what_is_missing_to_ask_a_server_is_named() {
    let home = tempfile::tempdir().unwrap();
    let (_, error) = run(home.path(), "status", 2);
    assert!(error.contains("TRIAD_SERVERS"), "{error}");
    let (_, error) = run(home.path(), "features --servers a:1", 2);
    assert!(error.contains("TRIAD_CA"), "{error}");
    let (_, error) = run(home.path(), "status --servers a:1;b:1 --tls off", 2);
    assert!(error.contains("second cluster"), "{error}");
    let (_, error) = run(home.path(), "status --servers a:1 --ca missing.pem", 1);
    assert!(error.contains("missing.pem: cannot read"), "{error}");
    fs::write(home.path().join("ca.pem"), "not a certificate").unwrap();
    let (_, error) = run(home.path(), "status --servers a:1 --ca ca.pem", 1);
    assert!(error.contains("ca.pem: ") && error.contains("hint: "), "{error}");
}

#[test]
fn with_nobody_listening_every_question_ends_with_5() {
    let home = publisher();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    drop(listener);
    let options = format!("--servers {server},{}@127.0.0.1 --tls off", server.port());
    let (status, _) = run(home.path(), &format!("status {options}"), 5);
    assert!(status.starts_with("Unreachable: the server does not answer\n"), "{status}");
    assert!(status.contains(&server.to_string()), "{status}");
    let (checked, _) = run(home.path(), &format!("check {options}"), 2);
    let begins = format!("TRIAD CRITICAL - Unreachable: the server does not answer; {server}: ");
    assert!(checked.starts_with(&begins) && checked.lines().count() == 1, "{checked}");
    let (status, _) = run(home.path(), &format!("status {options} -o json"), 5);
    assert_eq!(json(&status)["verdict"], "UNREACHABLE");
    for verb in [
        "features",
        "sessions",
        "checkouts",
        "checkouts revoke 17 --yes",
        "queue",
        "borrow list",
        "events",
        "events --follow",
        "report peak",
        "report denials --since 7d",
        "report idle",
        "report overdraft",
        "policy show",
        "license diff acme.lic",
        "explain solver",
        "node list",
        "leader transfer --to lic-b",
        "license list",
        "license apply acme.lic",
    ] {
        let (_, error) = run(home.path(), &format!("{verb} {options}"), 5);
        assert!(error.starts_with("error[TRD-1006]: no server answers: "), "{verb}: {error}");
        assert!(error.ends_with("  more: triad explain TRD-1006\n"), "{verb}: {error}");
    }
}

#[test]
fn the_host_ids_of_this_machine_can_be_read_back() {
    let home = tempfile::tempdir().unwrap();
    let (text, _) = run(home.path(), "hostid -o json", 0);
    for id in json(&text)["hostids"].as_array().unwrap() {
        let text = id.as_str().unwrap();
        assert_eq!(triad_license::HostId::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn every_shell_gets_its_completions() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (script, _) = run(home.path(), &format!("completions {shell}"), 0);
        assert!(script.contains("TRIAD_COMPLETE"), "{shell}");
    }
}

#[test]
fn colour_comes_only_when_it_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let (_, error) = run(home.path(), "status", 2);
    assert!(error.starts_with("error: "), "{error:?}");
    let (_, error) = run(home.path(), "status --color always", 2);
    assert!(error.starts_with("\x1b["), "{error:?}");
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error() {
    use std::process::{Command, Stdio};
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("triad"))
        .args(["completions", "bash"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_context() {
    let home = tempfile::tempdir().unwrap();
    let run = |line: &str, environment: &[(&str, &str)], code: i32| {
        let mut command = triad(home.path());
        command.env("XDG_CONFIG_HOME", home.path().join("config")).env_remove("TRIAD_CONFIG");
        command.envs(environment.iter().copied()).args(line.split_whitespace());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert_eq!(status.code(), Some(code), "{line}\n{stdout}\n{stderr}");
        (stdout, stderr)
    };
    fs::write(home.path().join("token"), "tat_abc").unwrap();
    let set = "config set prod --servers lic-a,lic-b --ca ca.pem --token-file token";
    let (_, warned) = run(set, &[], 0);
    assert!(warned.contains("ca.pem: cannot read: ") && !warned.contains("/token:"), "{warned}");
    run("config set lab --servers localhost --timeout 3s", &[], 0);
    let (list, _) = run("config list --columns current,name,servers --no-headers", &[], 0);
    assert_eq!(list, "-  lab   localhost\n*  prod  lic-a,lic-b\n");
    let origins = |line: &str, environment: &[(&str, &str)]| {
        let (csv, _) = run(line, environment, 0);
        let rows: Vec<String> = csv.lines().skip(1).map(str::to_owned).collect();
        rows
    };
    let view = "config view --show-origin -o csv";
    let plain = origins(view, &[]);
    assert_eq!(plain[0], "context,prod,current");
    assert_eq!(plain[1], "servers,\"lic-a,lic-b\",context prod");
    assert!(
        plain[2].ends_with("/ca.pem,context prod") && plain[2].starts_with("ca,/"),
        "{plain:?}"
    );
    assert_eq!(plain[4..6], ["tls,on,default", "timeout,5s,default"]);
    assert_eq!(plain[6], "token,(in the token-file),context prod");
    let token = |line: &str, environment: &[(&str, &str)]| origins(line, environment)[6].clone();
    let both = [("TRIAD_TOKEN", "tat_x"), ("TRIAD_TOKEN_FILE", "other")];
    assert_eq!(token(view, &both), "token,(kept to itself),environment TRIAD_TOKEN");
    let of_file = "token,(in the token-file),environment TRIAD_TOKEN_FILE";
    assert_eq!(token(view, &both[1..]), of_file);
    let typed = format!("{view} --token-file mine");
    assert_eq!(token(&typed, &both), "token,(in the token-file),flag --token-file");
    let named = format!("{view} --context prod");
    assert_eq!(token(&named, &both), "token,(in the token-file),context prod");
    assert_eq!(token(&format!("{view} --context lab"), &[]), "token,,default");
    let named = origins(view, &[("TRIAD_SERVERS", "other"), ("TRIAD_CONTEXT", "lab")]);
    assert_eq!(named[0], "context,lab,environment TRIAD_CONTEXT");
    assert_eq!(named[1], "servers,other,environment TRIAD_SERVERS");
    assert_eq!(named[5], "timeout,3000ms,context lab");
    let typed =
        origins(&format!("{view} --servers x --context lab"), &[("TRIAD_SERVERS", "other")]);
    assert_eq!(typed[0], "context,lab,flag --context");
    assert_eq!(typed[1], "servers,x,flag --servers");
    let (_, warned) = run("config use lab", &[("TRIAD_CA", "c"), ("TRIAD_TOKEN", "t")], 0);
    assert_eq!(warned, "", "what lab says nothing of goes before nothing");
    let (_, warned) = run("config use prod", &[("TRIAD_SERVERS", "other"), both[0]], 0);
    let told = "warning: TRIAD_SERVERS, TRIAD_TOKEN are set and go before it; unset them, or see";
    assert!(warned.starts_with(told), "{warned}");
    let (_, warned) = run("config use lab", &[("TRIAD_CONTEXT", "prod")], 0);
    assert!(warned.starts_with("warning: TRIAD_CONTEXT is set and goes before it"), "{warned}");
    assert_eq!(origins(view, &[])[1], "servers,localhost,context lab");
    let (_, error) = run("config use pord", &[], 2);
    assert!(error.contains("there are lab, prod"), "{error}");
    let (_, error) = run("status --context gone", &[], 2);
    assert!(error.contains("there is no context \"gone\""), "{error}");
    // The environment is not kept by accident.
    run("config set empty", &[("TRIAD_SERVERS", "other")], 2);
    run("config remove lab", &[], 0);
    let (list, _) = run("config list -o json", &[], 0);
    assert_eq!(json(&list)["contexts"].as_array().unwrap().len(), 1);
    let file = home.path().join("config/triad/config.toml");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let (_, error) = run("config list --columns nmae", &[], 2);
    assert!(error.contains("there are current, name, servers"), "{error}");
    run("config list --columns name -o json", &[], 2);
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let home = tempfile::tempdir().unwrap();
    let (told, _) = run(home.path(), "man --out man1", 0);
    assert!(told.ends_with(" pages in man1\n"), "{told}");
    for page in ["triad.1", "triad-status.1", "triad-policy-apply.1", "triad-lmstat.1"] {
        let text = fs::read_to_string(home.path().join("man1").join(page)).unwrap();
        assert!(text.contains(".TH "), "{page}");
        // As `--help` has them.
        assert!(text.contains(".SH EXAMPLES\n.nf\ntriad "), "{page}: {text}");
        assert!(text.contains(".SH \"EXIT STATUS\"\n"), "{page}: {text}");
        assert!(!text.contains(".SH EXTRA"), "{page}: {text}");
    }
    let read = |page: &str| fs::read_to_string(home.path().join("man1").join(page)).unwrap();
    let usual = "6 denied: every seat is in use";
    assert!(read("triad-queue.1").contains(usual));
    for (page, words) in [("triad-run.1", "128 + n after signal n"), ("triad-check.1", "3 UNKNOWN")]
    {
        assert!(read(page).contains(words) && !read(page).contains(usual), "{page}");
    }
}

#[test]
fn only_what_asks_is_watched_and_a_reader_may_leave() {
    let home = tempfile::tempdir().unwrap();
    let (_, error) = run(home.path(), "hostid --watch", 2);
    assert!(error.contains("this is not watched"), "{error}");
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("triad"))
        .args(["config", "list", "--watch=10ms"])
        .env("XDG_CONFIG_HOME", home.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..6 {
        lines.next().unwrap().unwrap();
    }
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Under cron, in services and in containers the environment names nobody.
#[cfg(unix)]
#[test]
fn who_has_no_name_in_the_environment_has_one_in_the_password_database() {
    let home = tempfile::tempdir().unwrap();
    let known = std::process::Command::new("id").arg("-un").output().unwrap();
    let known = String::from_utf8(known.stdout).unwrap();
    let mut command = triad(home.path());
    for name in ["USER", "LOGNAME", "USERNAME"] {
        command.env_remove(name);
    }
    let told = command.args(["lmutil", "lmhostid", "-n", "-user"]).output().unwrap();
    assert_eq!(String::from_utf8(told.stdout).unwrap(), format!("USER={known}"));
    // What the environment says goes first.
    let mut command = triad(home.path());
    let told = command.env("USER", "ann").args(["lmutil", "lmhostid", "-n", "-user"]).output();
    assert_eq!(String::from_utf8(told.unwrap().stdout).unwrap(), "USER=ann\n");
}

#[test]
fn tools_of_another_age_say_what_is_wrong_and_once() {
    let home = tempfile::tempdir().unwrap();
    let (stdout, stderr) = run(home.path(), "lmutil lmstat -a -c missing.lic", 255);
    assert_eq!(stdout, "Error getting status: Cannot find license file. (-1)\n");
    assert!(stderr.starts_with("  missing.lic: cannot read: "), "{stderr}");
    let (stdout, stderr) = run(home.path(), "lmutil lmdiag -c ./missing solver", 255);
    assert!(stdout.is_empty() && stderr.contains("./missing: cannot read: "), "{stderr}");
    let (stdout, stderr) = run(home.path(), "lmutil lmstat -t abc", 1);
    assert!(stdout.is_empty(), "{stdout}");
    assert!(stderr.starts_with("lmstat: -t needs a number of seconds, and \"abc\" is none\n"));
    for (line, verb) in [
        ("lmborrow -status", "triad borrow take"),
        ("lmpath -status", "triad config"),
        ("lmcksum license.dat", "triad license verify"),
        ("lmnewlog log", "triad events"),
        ("lmdown -q", "systemctl stop triad"),
    ] {
        let (stdout, stderr) = run(home.path(), &format!("lmutil {line}"), 1);
        assert!(stdout.is_empty() && stderr.lines().count() == 1, "{line}: {stderr}");
        assert!(stderr.contains(verb), "{line}: {stderr}");
    }
}
