//! Many seeds, each in a process of its own: inside one process a seed would
//! depend on those before it, through counters that never begin anew.

use std::process::{Child, Command, ExitCode, Stdio};

use crate::settings::Settings;

/// Runs all seeds that are asked for, and says which failed.
pub fn sweep(settings: &Settings) -> ExitCode {
    let mut seeds = settings.from..settings.from + settings.seeds;
    let mut running: Vec<(u64, Child)> = Vec::new();
    let mut failed = Vec::new();
    loop {
        while running.len() < settings.jobs
            && let Some(seed) = seeds.next()
        {
            running.push((seed, start(settings, seed)));
        }
        if running.is_empty() {
            break;
        }
        let (seed, child) = running.remove(0);
        let output = child.wait_with_output().expect("a child can be waited for");
        print!("{}", String::from_utf8_lossy(&output.stdout));
        if !output.status.success() {
            if settings.bug.is_some() {
                // One is enough; those that run are not waited for.
                seeds = 0..0;
                for (_, mut other) in running.drain(..) {
                    let _ = other.kill().and_then(|()| other.wait());
                }
            }
            failed.push(seed);
            println!("replay: {}", settings.replay(seed));
        }
    }
    if settings.seeds > 1 {
        println!("{} seeds, {} failed {failed:?}", settings.seeds, failed.len());
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start(settings: &Settings, seed: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg("--here").args(["--seed", &seed.to_string()]);
    command.args(["--seconds", &settings.chaos.as_secs().to_string()]);
    for (flag, value) in [("--bug", &settings.bug), ("--log", &settings.log)] {
        if let Some(value) = value {
            command.args([flag, value]);
        }
    }
    if settings.known {
        command.arg("--known");
    }
    // Whatever the environment says, the run must not depend on it.
    command.env_clear().stdout(Stdio::piped());
    command.spawn().expect("this program can be started again")
}
