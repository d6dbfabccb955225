//! Hosts that are far apart: a switch in a process of its own (this kernel may
//! have no `netem`) which carries every packet between the hosts, and can hold it
//! back, double it, or let others overtake it, each direction by itself.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::network::{Host, Network};

/// What happens to the packets from one host to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How long each is on its way.
    pub delay: Duration,
    /// So much longer or shorter, drawn for each; the order stays.
    pub jitter: Duration,
    /// So many of a hundred arrive twice.
    pub doubled_percent: u8,
    /// So many of a hundred are held back until others have overtaken them.
    pub overtaken_percent: u8,
}

impl Lag {
    /// A path of this length, and nothing else.
    pub fn of(delay: Duration, jitter: Duration) -> Self {
        Lag { delay, jitter, ..Lag::default() }
    }
}

/// The switch. It ends when this is dropped, or when the test does.
pub struct Switch {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Switch {
    /// Starts it, and leads the traffic of all hosts over it.
    ///
    /// # Errors
    ///
    /// Why this machine does not allow it.
    pub fn start(program: &Path, network: &Network) -> Result<Self, String> {
        let mut command = Command::new(program);
        for host in Host::ALL {
            command.arg(network.namespace(host)).arg(host.address().to_string());
        }
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = started.map_err(|error| format!("{}: {error}", program.display()))?;
        let orders = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut switch = Switch { process, orders, answers };
        let said = switch.answer();
        if said != "ready" {
            return Err(format!("there are no TUN devices here ({said:?})"));
        }
        network.lead_over("far")?;
        Ok(switch)
    }

    /// From now on.
    pub fn set(&mut self, from: Host, to: Host, lag: Lag) {
        let place = |host| Host::ALL.iter().position(|one| *one == host).expect("all are there");
        let Lag { delay, jitter, doubled_percent, overtaken_percent } = lag;
        let (delay_us, jitter_us) = (delay.as_micros(), jitter.as_micros());
        let (from, to) = (place(from), place(to));
        let order =
            format!("{from} {to} {delay_us} {jitter_us} {doubled_percent} {overtaken_percent}\n");
        self.orders.write_all(order.as_bytes()).expect("the switch runs");
        assert_eq!(self.answer(), "done", "{order}");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the switch speaks plainly");
        line.trim_end().to_owned()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
