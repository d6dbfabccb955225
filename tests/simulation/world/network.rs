//! The simulated network, as a kernel and a switch would show it: connections
//! that keep their order, links that are slow, lossy or cut one way, and a
//! difference between a process that is gone and a machine that is.
//!
//! A lost segment is sent again, and one that waits behind a cut arrives after
//! the cut is mended: TCP never loses bytes, it only delays them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, poll_fn};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::timeout;
use triad_proto::net::{Connection, Listener, Network as Door};

use super::segments::{Flight, Segment};
use super::stream::{ConnectionId, End, Side, SimulatedStream};

/// As long as the real network tries.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// When a kernel sends a segment again that nobody acknowledged.
const RESEND: Duration = Duration::from_millis(200);
/// After a cut of any length, the kernel's next attempt comes within this.
const RESEND_AFTER_CUT: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MachineId(pub usize);

/// How one direction between two machines behaves.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub latency_min: Duration,
    pub latency_max: Duration,
    /// Of a hundred segments so many are lost at first.
    pub loss_percent: u32,
    /// How many bytes get through in a millisecond.
    pub bytes_per_ms: u64,
    pub is_cut: bool,
}

/// A network that nobody has to wait for.
const BYTES_PER_MS: u64 = 125_000;

impl Default for Link {
    fn default() -> Self {
        Link {
            latency_min: Duration::from_micros(100),
            latency_max: Duration::from_millis(3),
            loss_percent: 0,
            bytes_per_ms: BYTES_PER_MS,
            is_cut: false,
        }
    }
}

#[derive(Default)]
struct Port {
    waiting: VecDeque<(ConnectionId, SocketAddr)>,
    acceptor: Option<Waker>,
}

struct Kernel {
    has_power: bool,
    /// Counts the times the machine was switched on.
    boot: u64,
    ports: BTreeMap<u16, Port>,
}

pub(super) struct State {
    now: Duration,
    dice: StdRng,
    names: BTreeMap<String, MachineId>,
    kernels: Vec<Kernel>,
    links: BTreeMap<(MachineId, MachineId), Link>,
    /// Ports that refuse, although they are open.
    refusing: BTreeMap<(MachineId, u16), bool>,
    pub(super) connections: BTreeMap<ConnectionId, [Side; 2]>,
    /// Those that something on the way has forgotten: nothing gets through, and nobody is told.
    forgotten: BTreeSet<ConnectionId>,
    next_connection: u64,
    /// What each side has sent in this tick: it travels together, however many
    /// pieces it was written in.
    outbox: BTreeMap<(ConnectionId, usize), Vec<Segment>>,
    in_flight: BTreeMap<(Duration, u64), Flight>,
    held: BTreeMap<(MachineId, MachineId), Vec<Flight>>,
    next_flight: u64,
}

pub struct Network(Mutex<State>);

impl Network {
    pub fn new(dice: StdRng) -> Arc<Self> {
        Arc::new(Network(Mutex::new(State {
            now: Duration::ZERO,
            dice,
            names: BTreeMap::new(),
            kernels: Vec::new(),
            links: BTreeMap::new(),
            refusing: BTreeMap::new(),
            connections: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            next_connection: 1,
            outbox: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            held: BTreeMap::new(),
            next_flight: 0,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while held")
    }

    pub fn add(&self, name: &str) -> MachineId {
        let mut state = self.state();
        let id = MachineId(state.kernels.len());
        state.kernels.push(Kernel { has_power: true, boot: 0, ports: BTreeMap::new() });
        state.names.insert(name.to_owned(), id);
        id
    }

    /// The network as one machine sees it.
    pub fn of(self: &Arc<Self>, machine: MachineId) -> Arc<dyn Door> {
        Arc::new(Card { network: self.clone(), machine })
    }

    pub fn link(&self, from: MachineId, to: MachineId, change: impl FnOnce(&mut Link)) {
        let mut state = self.state();
        let link = state.links.entry((from, to)).or_default();
        change(link);
        if !link.is_cut {
            let mut late: BTreeMap<ConnectionId, Duration> = BTreeMap::new();
            for flight in state.held.remove(&(from, to)).unwrap_or_default() {
                let dice = &mut state.dice;
                let late = late.entry(flight.connection);
                let late =
                    *late.or_insert_with(|| dice.random_range(Duration::ZERO..RESEND_AFTER_CUT));
                state.fly(flight, late);
            }
        }
    }

    /// Every link behaves well again.
    pub fn heal(&self) {
        let links: Vec<_> = self.state().links.keys().copied().collect();
        for (from, to) in links {
            self.link(from, to, |link| *link = Link::default());
        }
        let state = &mut *self.state();
        state.refusing.clear();
        // Whatever forgot connections says from now on that it does not know them.
        let forgotten = std::mem::take(&mut state.forgotten);
        state.reset_those(forgotten);
    }

    pub fn set_power(&self, machine: MachineId, on: bool) {
        let mut state = self.state();
        let kernel = &mut state.kernels[machine.0];
        if kernel.has_power == on {
            return;
        }
        kernel.has_power = on;
        kernel.boot += 1;
        kernel.ports.clear();
        let State { outbox, connections, .. } = &mut *state;
        outbox.retain(|(connection, side), _| {
            connections.get(connection).is_some_and(|sides| sides[*side].machine != machine)
        });
    }

    /// A port refuses from now on, and what is open to it is reset; `both_ways`,
    /// also what the machine opens to such ports elsewhere.
    pub fn refuse(&self, machine: MachineId, port: u16, both_ways: bool) {
        let mut state = self.state();
        state.refusing.insert((machine, port), both_ways);
        state.reset(|sides| is_refused(sides, (machine, port), both_ways));
    }

    /// The port is as it was.
    pub fn accept_again(&self, machine: MachineId, port: u16) {
        self.state().refusing.remove(&(machine, port));
    }

    /// Something on the way resets all connections of a machine, towards both ends.
    pub fn reset(&self, machine: MachineId) {
        self.state().reset(|sides| sides.iter().any(|side| side.machine == machine));
    }

    /// Something on the way forgets all connections of a machine, and lets new ones through.
    pub fn forget(&self, machine: MachineId) {
        let state = &mut *self.state();
        let its = |sides: &[Side; 2]| sides.iter().any(|side| side.machine == machine);
        let its = state.connections.iter().filter(|(_, sides)| its(sides)).map(|(id, _)| *id);
        state.forgotten.extend(its);
        let connections = &state.connections;
        state.forgotten.retain(|connection| connections.contains_key(connection));
    }

    /// Everything that has arrived by now is there.
    pub fn deliver(&self, now: Duration) {
        let mut state = self.state();
        for ((connection, from), segments) in std::mem::take(&mut state.outbox) {
            state.depart(connection, from, segments);
        }
        state.now = now;
        while let Some(first) = state.in_flight.first_entry() {
            if first.key().0 > now {
                break;
            }
            let flight = first.remove();
            state.arrive(flight);
        }
    }
}

impl State {
    /// Puts a segment on its way to the other side, with the end of the tick.
    pub(super) fn send(&mut self, connection: ConnectionId, from: usize, segment: Segment) {
        let Some(sides) = self.connections.get(&connection) else { return };
        let (sender, receiver) = (sides[from].machine, sides[1 - from].machine);
        if !self.kernels[sender.0].has_power {
            return;
        }
        tracing::trace!(now = ?self.now, ?connection, ?sender, ?receiver, %segment, "sent");
        self.outbox.entry((connection, from)).or_default().push(segment);
    }

    fn depart(&mut self, connection: ConnectionId, from: usize, segments: Vec<Segment>) {
        let Some(sides) = self.connections.get(&connection) else { return };
        if self.forgotten.contains(&connection) {
            return;
        }
        let (sender, receiver) = (sides[from].machine, sides[1 - from].machine);
        let flight = |segment| Flight { connection, to: 1 - from, segment };
        let flights = segments.into_iter().map(flight);
        let link = self.links.get(&(sender, receiver)).copied().unwrap_or_default();
        if link.is_cut {
            self.held.entry((sender, receiver)).or_default().extend(flights);
            return;
        }
        let mut delay = self.dice.random_range(link.latency_min..=link.latency_max);
        let mut again = RESEND;
        while link.loss_percent > 0 && self.dice.random_range(0..100) < link.loss_percent {
            delay += again;
            again *= 2;
        }
        for flight in flights.collect::<Vec<_>>() {
            if let Segment::Data(bytes) = &flight.segment {
                delay += Duration::from_millis(bytes.len() as u64 / link.bytes_per_ms);
            }
            self.fly(flight, delay);
        }
    }

    fn fly(&mut self, flight: Flight, delay: Duration) {
        let Some(sides) = self.connections.get_mut(&flight.connection) else { return };
        let receiver = &mut sides[flight.to];
        tracing::trace!(?delay, last = ?receiver.last_arrival, "flies");
        // Bytes of one connection do not overtake each other.
        let arrival = (self.now + delay).max(receiver.last_arrival);
        receiver.last_arrival = arrival;
        self.next_flight += 1;
        self.in_flight.insert((arrival, self.next_flight), flight);
    }

    fn arrive(&mut self, flight: Flight) {
        let Flight { connection, to, segment } = flight;
        tracing::trace!(now = ?self.now, ?connection, to, %segment, "arrives");
        let Some(sides) = self.connections.get_mut(&connection) else { return };
        let mut refusing = self.refusing.iter();
        let refusing = refusing.any(|(port, both_ways)| is_refused(sides, *port, *both_ways));
        let kernel = &mut self.kernels[sides[to].machine.0];
        if !kernel.has_power {
            return;
        }
        if let Segment::Open { port } = segment {
            let from = address(sides[1 - to].machine, 40_000);
            let Some(open) = kernel.ports.get_mut(&port).filter(|_| !refusing) else {
                return self.send(connection, to, Segment::Refuse);
            };
            sides[to].boot = kernel.boot;
            sides[to].is_open = true;
            open.waiting.push_back((connection, from));
            if let Some(acceptor) = open.acceptor.take() {
                acceptor.wake();
            }
            return self.send(connection, to, Segment::Accept);
        }
        let side = &mut sides[to];
        if side.boot != kernel.boot || side.is_dropped {
            // Nobody here knows of such a connection.
            if matches!(segment, Segment::Data(_)) {
                self.send(connection, to, Segment::Reset);
            }
            return;
        }
        match segment {
            Segment::Accept => side.is_open = true,
            Segment::Refuse => side.end = Some(End::Refused),
            Segment::Data(bytes) => side.received.push_back(bytes),
            Segment::Finish => side.end = side.end.or(Some(End::Finished)),
            Segment::Reset => side.end = Some(End::Reset),
            Segment::Open { .. } => unreachable!("handled above"),
        }
        side.wake();
    }

    fn reset(&mut self, which: impl Fn(&[Side; 2]) -> bool) {
        let which = self.connections.iter().filter(|(_, sides)| which(sides));
        let which = which.map(|(id, _)| *id).collect();
        self.reset_those(which);
    }

    fn reset_those(&mut self, connections: BTreeSet<ConnectionId>) {
        for connection in connections {
            for side in 0..2 {
                self.arrive(Flight { connection, to: side, segment: Segment::Reset });
            }
        }
    }

    /// A process lets go of its end.
    pub(super) fn drop_side(&mut self, connection: ConnectionId, at: usize) {
        let Some(sides) = self.connections.get_mut(&connection) else { return };
        let side = &mut sides[at];
        let unread = !side.received.is_empty();
        let (finished, ended) = (side.is_finished, side.end);
        side.is_dropped = true;
        side.received.clear();
        if sides.iter().all(|side| side.is_dropped) {
            self.connections.remove(&connection);
        } else if unread {
            self.send(connection, at, Segment::Reset);
        } else if !finished && !matches!(ended, Some(End::Reset | End::Refused)) {
            self.send(connection, at, Segment::Finish);
        }
    }
}

/// Whether a connection is one of those that a refusing port resets.
fn is_refused(sides: &[Side; 2], (machine, port): (MachineId, u16), both_ways: bool) -> bool {
    let dialled = &sides[1];
    dialled.port == port
        && (dialled.machine == machine || (both_ways && sides[0].machine == machine))
}

fn address(machine: MachineId, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, machine.0 as u8 + 1)), port)
}

/// A machine's way to the network.
struct Card {
    network: Arc<Network>,
    machine: MachineId,
}

impl Card {
    fn parse(&self, host_port: &str) -> io::Result<(MachineId, u16)> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("{host_port} is unknown"));
        let (name, port) = host_port.rsplit_once(':').ok_or_else(unknown)?;
        let machine = *self.network.state().names.get(name).ok_or_else(unknown)?;
        Ok((machine, port.parse().map_err(|_| unknown())?))
    }

    fn dial(&self, to: MachineId, port: u16) -> SimulatedStream {
        let mut state = self.network.state();
        let id = ConnectionId(state.next_connection);
        state.next_connection += 1;
        let boot = state.kernels[self.machine.0].boot;
        // The other side's boot is set when it hears of this.
        let sides = [Side::new(self.machine, 0, boot), Side::new(to, port, 0)];
        state.connections.insert(id, sides);
        state.send(id, 0, Segment::Open { port });
        drop(state);
        SimulatedStream { network: self.network.clone(), connection: id, side: 0 }
    }
}

impl Door for Card {
    fn connect<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        async move {
            let (to, port) = self.parse(host_port)?;
            let stream = self.dial(to, port);
            let opened = timeout(CONNECT_TIMEOUT, stream.opened()).await;
            let no_answer = || io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
            opened.unwrap_or_else(|_| Err(no_answer()))?;
            Ok(Box::new(stream) as Connection)
        }
        .boxed()
    }

    fn bind<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        async move {
            let (machine, port) = self.parse(host_port)?;
            let mut state = self.network.state();
            let ports = &mut state.kernels[machine.0].ports;
            if machine != self.machine || ports.contains_key(&port) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            ports.insert(port, Port::default());
            let network = self.network.clone();
            Ok(Box::new(BoundPort { network, machine, port }) as Box<dyn Listener>)
        }
        .boxed()
    }
}

struct BoundPort {
    network: Arc<Network>,
    machine: MachineId,
    port: u16,
}

impl Listener for BoundPort {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
        let accept = poll_fn(|context| {
            let mut state = self.network.state();
            let Some(port) = state.kernels[self.machine.0].ports.get_mut(&self.port) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let Some((connection, from)) = port.waiting.pop_front() else {
                port.acceptor = Some(context.waker().clone());
                return Poll::Pending;
            };
            let network = self.network.clone();
            let stream = SimulatedStream { network, connection, side: 1 };
            Poll::Ready(Ok((Box::new(stream) as Connection, from)))
        });
        accept.boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(address(self.machine, self.port))
    }
}

impl Drop for BoundPort {
    fn drop(&mut self) {
        let mut state = self.network.state();
        let port = state.kernels[self.machine.0].ports.remove(&self.port);
        for (connection, _) in port.into_iter().flat_map(|port| port.waiting) {
            state.send(connection, 1, Segment::Reset);
            state.drop_side(connection, 1);
        }
    }
}

/// What is sent in one piece at most, and what may be on its way unread.
pub(super) const WINDOW_BYTES: usize = 256 << 10;

impl Side {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

pub(super) fn slice(bytes: &mut Bytes, count: usize) -> Bytes {
    bytes.split_to(count.min(bytes.len()))
}
