//! A session at a shell, as a page of the book describes it: its blocks are run
//! in order, in a network, a process space and a folder of their own.
//!
//! `sh` is a block of commands, each of which must succeed. `console` has a
//! command after each `$ `, with what it prints below it: `[..]` stands for
//! anything in a line, `...` for any lines, and a last line `? 6` for the exit
//! code. With the further word `cluster` the session begins with a cluster of three
//! nodes and a license; `by-hand` and `on=` are for others.

use std::path::Path;
use std::process::{Output, Stdio};

use triad_tests::program::{triad, triad_office};

use crate::pages::Block;
use crate::tools::{both, command};

/// What a session may take.
const LIMIT_S: &str = "120";

/// Whether the block is run in a session on this machine.
pub fn runs_alone(block: &Block) -> bool {
    let is_shell = matches!(block.language.as_str(), "sh" | "console");
    is_shell && !block.words.iter().any(|word| word == "by-hand" || word.starts_with("on="))
}

/// A command, and what the page says of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// What is typed.
    pub typed: String,
    /// What it prints, if the page shows that.
    pub expected: Option<String>,
    /// How it ends.
    pub code: i32,
    /// Several commands, each of which must succeed.
    pub is_script: bool,
}

/// The steps of a block.
pub fn steps(block: &Block) -> Vec<Step> {
    if block.language == "sh" {
        return vec![Step { typed: block.text.clone(), expected: None, code: 0, is_script: true }];
    }
    let mut steps: Vec<Step> = Vec::new();
    for line in block.text.lines() {
        if let Some(typed) = line.strip_prefix("$ ") {
            steps.push(Step {
                typed: format!("{typed}\n"),
                expected: None,
                code: 0,
                is_script: false,
            });
            continue;
        }
        let Some(step) = steps.last_mut() else { continue };
        if let Some(more) = line.strip_prefix("> ") {
            step.typed.push_str(more);
            step.typed.push('\n');
        } else if let Some(code) = line.strip_prefix("? ").and_then(|code| code.parse().ok()) {
            step.code = code;
        } else {
            let expected = step.expected.get_or_insert_default();
            expected.push_str(line);
            expected.push('\n');
        }
    }
    steps
}

/// Runs the blocks of one page.
///
/// # Errors
///
/// The first step that did otherwise than the page says.
pub fn run(page: &Path, blocks: &[Block]) -> Result<(), String> {
    let folder = tempfile::Builder::new().prefix("triad-book-").tempdir().unwrap();
    let steps: Vec<(usize, Step)> = blocks
        .iter()
        .flat_map(|block| steps(block).into_iter().map(|step| (block.line, step)))
        .collect();
    let mut script = String::from(
        "set -e\ntrap 'code=$?; [ -e \"$now\" ] || echo $code >\"$now\"' EXIT\n\
         now=../begin.code\nip link set lo up\nmkdir -p work && cd work\n",
    );
    if blocks.iter().any(|block| block.is("cluster")) {
        script.push_str(include_str!("cluster.sh"));
    }
    for (number, (_, step)) in steps.iter().enumerate() {
        let file = folder.path().join(format!("{number}.sh"));
        std::fs::write(&file, &step.typed).unwrap();
        let begin = folder.path().join(number.to_string());
        let begin = begin.display();
        // Read into this shell, so that variables, folders and jobs go on.
        let file = file.display();
        // Read into this shell, so that variables, folders and jobs go on.
        script.push_str(&format!("now={begin}.code\n"));
        script.push_str(&match step.is_script {
            true => format!(". {file} >{begin}.out 2>&1\necho 0 >$now\n"),
            false => format!(
                "set +e\n. {file} >{begin}.out 2>&1\ncode=$?\nset -e\n\
                 echo $code >$now\n[ $code = {} ]\n",
                step.code
            ),
        });
    }
    let output = shell(folder.path(), &script);
    for (number, (line, step)) in steps.iter().enumerate() {
        let read =
            |end: &str| std::fs::read_to_string(folder.path().join(format!("{number}.{end}"))).ok();
        let printed = read("out").unwrap_or_default();
        let at = format!("{}:{line}:\n{}", page.display(), step.typed);
        let code = read("code").and_then(|code| code.trim().parse::<i32>().ok());
        if code != Some(step.code) {
            let (told, said) = both(&output);
            return Err(format!(
                "{at}ended with {code:?}, not {}:\n{printed}{told}{said}",
                step.code
            ));
        }
        if let Some(expected) = &step.expected
            && !fits(expected, &printed)
        {
            return Err(format!("{at}printed:\n{printed}\nand not:\n{expected}"));
        }
    }
    let (_, said) = both(&output);
    if output.status.success() { Ok(()) } else { Err(format!("{}: {said}", page.display())) }
}

fn shell(folder: &Path, script: &str) -> Output {
    let script_file = folder.join("session.sh");
    std::fs::write(&script_file, script).unwrap();
    let mut path =
        vec![triad().parent().unwrap().to_owned(), triad_office().parent().unwrap().into()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    command("timeout")
        .args(["--kill-after=5", LIMIT_S, "unshare", "--net", "--pid", "--fork", "--mount-proc"])
        .args(["--kill-child=KILL", "bash"])
        .arg(&script_file)
        .env_clear()
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("HOME", folder)
        .env("USER", "ann")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Whether what was printed is what the page shows.
pub fn fits(expected: &str, printed: &str) -> bool {
    let expected: Vec<_> = expected.trim_end().lines().map(str::trim_end).collect();
    let printed: Vec<_> = printed.trim_end().lines().map(str::trim_end).collect();
    lines_fit(&expected, &printed)
}

fn lines_fit(expected: &[&str], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((&"...", rest)) => (0..=printed.len()).any(|skip| lines_fit(rest, &printed[skip..])),
        Some((line, rest)) => match printed.split_first() {
            Some((first, others)) => line_fits(line, first) && lines_fit(rest, others),
            None => false,
        },
    }
}

fn line_fits(expected: &str, printed: &str) -> bool {
    match expected.split_once("[..]") {
        None => expected == printed,
        Some((begin, rest)) => printed.strip_prefix(begin).is_some_and(|after| {
            let ends = after.char_indices().map(|(at, _)| at).chain([after.len()]);
            ends.into_iter().any(|at| line_fits(rest, &after[at..]))
        }),
    }
}

#[test]
fn what_a_page_shows_is_compared_with_what_was_printed() {
    assert!(fits("a [..] c\n...\nend\n", "a bb c\nx\ny\nend\n"));
    assert!(fits("[..]", "anything"));
    assert!(!fits("a\n", "a\nb\n"), "a line more");
    assert!(!fits("a\nb\n", "a\n"), "a line less");
    assert!(!fits("2 of [..] free", "3 of 4 free"));
}

#[test]
fn a_session_that_does_otherwise_than_its_page_is_found() {
    if !crate::tools::can(&["unshare", "ip", "bash"]) {
        return;
    }
    let block = |language: &str, text: &str| Block {
        line: 1,
        language: language.into(),
        words: Vec::new(),
        text: text.into(),
    };
    let run = |blocks: &[Block]| run(Path::new("page.md"), blocks);
    let good = block("console", "$ echo $WORD\ntwo [..]s\n$ (exit 6)\n? 6\n");
    run(&[block("sh", "WORD='two words'\n"), good]).unwrap();
    let failed = run(&[block("sh", "false\ntrue\n")]).unwrap_err();
    assert!(failed.contains("ended with"), "{failed}");
    let other = run(&[block("console", "$ echo one\ntwo\n")]).unwrap_err();
    assert!(other.contains("printed:\none"), "{other}");
    let code = run(&[block("console", "$ true\n? 6\n")]).unwrap_err();
    assert!(code.contains("not 6"), "{code}");
}
