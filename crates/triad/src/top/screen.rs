//! What is on the screen: the verdict, the nodes, and one of four panels.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use triad_proto::v1::{CheckoutInfo, HistoryEvent, NodeStatus, Pool, QueueEntry, StatusResponse};

use crate::checkouts::seats_in_words;
use crate::concerns::Severity;
use crate::duration::show_ms;
use crate::lists::holder;
use crate::status::role_name;
use crate::text::{bytes, counted, instant, person, printable};
use crate::verdict::{Level, best_view, leads, statuses, verdict};

use super::Sight;
use super::terminal::Input;

/// What is wrong takes so many lines at most; `status` has all of it.
const CONCERNS_MAX: usize = 4;
/// A bar is no longer: numbers stand beside it.
const BAR_MAX: usize = 40;

/// How the terminal is to be written to.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// In colour.
    pub color: bool,
    /// With nothing but ASCII.
    pub ascii: bool,
}

/// The panels, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Panel {
    Features,
    Checkouts,
    Queue,
    Events,
}

const PANELS: [(Panel, &str); 4] = [
    (Panel::Features, "Features"),
    (Panel::Checkouts, "Checkouts"),
    (Panel::Queue, "Queue"),
    (Panel::Events, "Events"),
];

/// The screen. See the module's documentation.
pub struct Screen {
    looks: Looks,
    sight: Option<Sight>,
    events: VecDeque<HistoryEvent>,
    panel: usize,
    scrolled: usize,
    paused: bool,
}

impl Screen {
    /// A screen on which nothing is known yet.
    pub fn new(looks: Looks) -> Self {
        let events = VecDeque::new();
        Screen { looks, sight: None, events, panel: 0, scrolled: 0, paused: false }
    }

    /// Whether the user wants to read what stands there.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// The number of the last event that was seen.
    pub fn last_event(&self) -> u64 {
        self.events.back().map_or(0, |event| event.sequence)
    }

    /// Shows another sight. What could not be seen stays as it was.
    pub fn see(&mut self, mut sight: Sight, events_max: usize) {
        self.events.extend(std::mem::take(&mut sight.events));
        let surplus = self.events.len().saturating_sub(events_max);
        self.events.drain(..surplus);
        if let (Some(_), Some(before)) = (&sight.trouble, &mut self.sight) {
            sight.pools = std::mem::take(&mut before.pools);
            sight.checkouts = std::mem::take(&mut before.checkouts);
            sight.queue = std::mem::take(&mut before.queue);
        }
        self.sight = Some(sight);
    }

    /// Does what a key means.
    pub fn press(&mut self, input: Input) {
        match input {
            Input::Pause => self.paused = !self.paused,
            Input::Next => self.turn_to(self.panel + 1),
            Input::Previous => self.turn_to(self.panel + PANELS.len() - 1),
            Input::Scroll(rows) => {
                self.scrolled = self.scrolled.saturating_add_signed(rows as isize);
            }
            Input::Top => self.scrolled = 0,
            Input::Quit | Input::Refresh | Input::Resized => {}
        }
    }

    fn turn_to(&mut self, panel: usize) {
        self.panel = panel % PANELS.len();
        self.scrolled = 0;
    }

    /// Draws all of it, on whatever there is room.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let head = self.head();
        let nodes = self.nodes();
        let rows = |lines: &[Line<'_>]| u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let [top, middle, tabs, panel, keys] = Layout::vertical([
            Constraint::Length(rows(&head)),
            Constraint::Length(rows(&nodes) + 1),
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(head), top);
        frame.render_widget(Paragraph::new(nodes), middle);
        frame.render_widget(Paragraph::new(self.tabs()), tabs);
        self.panel(frame, panel);
        let pause = if self.paused { "PAUSED  [p] go on" } else { "[p] pause" };
        let help = format!("[q] quit  [Tab] panel  [j/k] scroll  [r] look now  {pause}");
        frame.render_widget(Paragraph::new(help).style(self.style(Style::new().dim())), keys);
    }

    fn style(&self, style: Style) -> Style {
        if self.looks.color { style } else { Style::new() }
    }

    fn head(&self) -> Vec<Line<'static>> {
        let Some(sight) = &self.sight else { return vec![Line::from("looking ...")] };
        let verdict = verdict(&sight.answers);
        let color = match verdict.level {
            Level::Healthy => Color::Green,
            Level::Degraded => Color::Yellow,
            Level::NoQuorum | Level::Unreachable => Color::Red,
        };
        // Without colour the word alone says it, in reverse.
        let word = match self.looks.color {
            true => Style::new().fg(color).add_modifier(Modifier::BOLD),
            false => Style::new().add_modifier(Modifier::BOLD),
        };
        let mut lines = vec![Line::from(vec![
            Span::styled(verdict.level.word().to_owned(), word),
            Span::raw(format!(": {}", printable(&verdict.sentence))),
        ])];
        let heard = statuses(&sight.answers);
        if let Some(view) = best_view(&heard) {
            lines.push(Line::from(format!(
                "{}, {}; term {}, {}",
                counted(view.sessions, "session"),
                counted(view.checkouts, "checkout"),
                view.term,
                instant(view.date_ms),
            )));
        }
        let mut wrong: Vec<Line<'static>> = verdict
            .concerns
            .iter()
            .map(|concern| {
                let color = match concern.severity {
                    Severity::Err => Style::new().fg(Color::Red),
                    Severity::Warn => Style::new().fg(Color::Yellow),
                    Severity::Note => Style::new(),
                };
                Line::from(vec![
                    Span::styled(format!("  {:<4}  ", concern.severity.word()), self.style(color)),
                    Span::raw(printable(&concern.line())),
                ])
            })
            .collect();
        if wrong.len() > CONCERNS_MAX {
            let more = wrong.len() - (CONCERNS_MAX - 1);
            wrong.truncate(CONCERNS_MAX - 1);
            wrong.push(Line::from(format!("        and {more} more: `triad status`")));
        }
        lines.extend(wrong);
        if let Some(trouble) = &sight.trouble {
            let text = format!("  not up to date: {}", printable(trouble));
            lines.push(Line::styled(text, self.style(Style::new().fg(Color::Red))));
        }
        lines.push(Line::default());
        lines
    }

    fn nodes(&self) -> Vec<Line<'static>> {
        let Some(sight) = &self.sight else { return Vec::new() };
        let heard = statuses(&sight.answers);
        let Some(view) = best_view(&heard) else { return Vec::new() };
        let head = format!(
            "{:<12} {:<12} {:>10} {:>7} {:>10} {:>10} {:>10}",
            "NODE", "ROLE", "INDEX", "LAG", "CLOCK", "DISK FREE", "UPTIME"
        );
        let mut lines = vec![Line::styled(head, self.style(Style::new().dim()))];
        for node in &view.nodes {
            let own = heard.iter().find(|status| status.node_id == node.node_id);
            lines.push(self.node(view, node, own.copied()));
        }
        lines
    }

    fn node(
        &self,
        view: &StatusResponse,
        node: &NodeStatus,
        own: Option<&StatusResponse>,
    ) -> Line<'static> {
        let name = printable(&node.name);
        let Some(own) = own else {
            let text = format!("{name:<12} no answer");
            return Line::styled(text, self.style(Style::new().fg(Color::Red)));
        };
        let vitals = own.vitals.clone().unwrap_or_default();
        let role = own.nodes.iter().find(|other| other.node_id == own.node_id);
        let dash = || "-".to_owned();
        Line::from(format!(
            "{name:<12} {:<12} {:>10} {:>7} {:>10} {:>10} {:>10}",
            role.map_or("-", |role| role_name(role.role())),
            own.freshness.unwrap_or_default().index,
            if leads(view) { node.lag.to_string() } else { dash() },
            node.clock_skew_ms.map_or_else(dash, |skew_ms| format!("{skew_ms:+} ms")),
            vitals.disk_free_bytes.map_or_else(dash, bytes),
            show_ms(vitals.uptime_ms),
        ))
    }

    fn tabs(&self) -> Line<'static> {
        let mut spans = Vec::new();
        for (number, (_, title)) in PANELS.iter().enumerate() {
            let chosen = number == self.panel;
            let text = if chosen { format!("[{title}]") } else { format!(" {title} ") };
            let style =
                if chosen { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
            spans.push(Span::styled(text, style));
            spans.push(Span::raw(" "));
        }
        Line::from(spans)
    }

    fn panel(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let lines = self.rows(usize::from(area.width));
        let room = usize::from(area.height);
        self.scrolled = self.scrolled.min(lines.len().saturating_sub(room.max(1)));
        let shown: Vec<Line<'static>> = lines.into_iter().skip(self.scrolled).take(room).collect();
        frame.render_widget(Paragraph::new(shown), area);
    }

    fn rows(&self, width: usize) -> Vec<Line<'static>> {
        let Some(sight) = &self.sight else { return Vec::new() };
        let nothing = |text: &str| vec![Line::from(format!("  {text}"))];
        match PANELS[self.panel].0 {
            Panel::Features if sight.pools.is_empty() => {
                nothing("nothing is licensed; put a license in force: triad license apply FILE")
            }
            Panel::Features => sight.pools.iter().map(|pool| self.feature(pool, width)).collect(),
            Panel::Checkouts if sight.checkouts.is_empty() => {
                nothing("nobody holds a seat, or there is no token to ask who: TRIAD_TOKEN_FILE")
            }
            Panel::Checkouts => sight.checkouts.iter().map(checkout).collect(),
            Panel::Queue if sight.queue.is_empty() => nothing("nobody waits"),
            Panel::Queue => sight.queue.iter().map(waiting).collect(),
            Panel::Events if self.events.is_empty() => nothing("nothing has happened yet"),
            Panel::Events => self.events.iter().rev().map(event).collect(),
        }
    }

    fn feature(&self, pool: &Pool, width: usize) -> Line<'static> {
        let kept: u64 =
            pool.reservations.iter().map(|r| r.seats.saturating_sub(r.seats_in_use)).sum();
        let label = format!("{} {}", printable(&pool.feature), printable(&pool.version));
        if pool.uncounted {
            return Line::from(format!("{label:<28} uncounted, {} in use", pool.seats_in_use));
        }
        let numbers = format!(
            " {:>6} of {:<6} {}{}",
            pool.seats_in_use,
            pool.seats_licensed,
            if kept > 0 { format!("{kept} reserved  ") } else { String::new() },
            if pool.waiting > 0 { format!("{} waiting", pool.waiting) } else { String::new() },
        );
        let room = width.saturating_sub(28 + 1 + 18).min(BAR_MAX);
        let total = pool.seats_licensed.max(pool.seats_in_use).max(1);
        let cells = |seats: u64| {
            let cells = u128::from(seats) * room as u128 / u128::from(total);
            usize::try_from(cells).unwrap_or(room).min(room)
        };
        let used = cells(pool.seats_in_use).max(usize::from(pool.seats_in_use > 0)).min(room);
        let reserved = cells(kept).min(room - used);
        let free = room - used - reserved;
        let [full, half, empty] =
            if self.looks.ascii { ["#", "=", "."] } else { ["█", "▒", "░"] };
        let color = match pool.seats_in_use * 100 / total {
            100.. => Color::Red,
            80.. => Color::Yellow,
            _ => Color::Green,
        };
        Line::from(vec![
            Span::raw(format!("{label:<28} ")),
            Span::styled(full.repeat(used), self.style(Style::new().fg(color))),
            Span::raw(half.repeat(reserved)),
            Span::styled(empty.repeat(free), self.style(Style::new().dim())),
            Span::raw(numbers),
        ])
    }
}

fn checkout(checkout: &CheckoutInfo) -> Line<'static> {
    let who = holder(checkout.holder.as_ref());
    let idle = match checkout.idle_ms {
        0 => String::new(),
        ms => format!(", idle for {}", show_ms(ms)),
    };
    Line::from(format!(
        "{:>8}  {:<28}  {}, since {}{idle}",
        checkout.checkout_id,
        person(&who.user, &who.host),
        seats_in_words(&checkout.items),
        instant(checkout.since_ms),
    ))
}

fn waiting(entry: &QueueEntry) -> Line<'static> {
    let who = holder(entry.holder.as_ref());
    let items = entry.items.iter().map(|item| {
        format!("{} of {}", counted(item.seats.into(), "seat"), printable(&item.feature))
    });
    Line::from(format!(
        "{:>4}  {:<28}  {}, waits for {}",
        entry.place,
        person(&who.user, &who.host),
        items.collect::<Vec<_>>().join(", "),
        show_ms(entry.waited_ms),
    ))
}

fn event(event: &HistoryEvent) -> Line<'static> {
    Line::from(crate::events::told(event, false).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use triad_proto::v1::{
        Freshness, GrantedItem, Holder, Item, PoolState, Reservation, Role, Vitals,
    };

    use super::*;
    use crate::verdict::Answer;

    fn sight() -> Sight {
        let node = |node_id, name: &str, role: Role| NodeStatus {
            node_id,
            name: name.into(),
            client_address: format!("{name}:1"),
            role: role.into(),
            reachable: true,
            clock_skew_ms: Some(2),
            ..NodeStatus::default()
        };
        let status = |node_id| StatusResponse {
            freshness: Some(Freshness {
                linearizable: node_id == 1,
                index: 1204,
                ..Freshness::default()
            }),
            node_id,
            leader_id: 1,
            term: 7,
            has_quorum: true,
            nodes: vec![
                node(1, "lic-a", Role::Leader),
                node(2, "lic-b", Role::Follower),
                node(3, "lic-c", Role::Follower),
            ],
            sessions: 3,
            checkouts: 2,
            date_ms: 1_795_442_709_000,
            vitals: Some(Vitals {
                uptime_ms: 3_600_000,
                disk_free_bytes: Some(5 << 30),
                ..Vitals::default()
            }),
            ..StatusResponse::default()
        };
        let answer = |id: u64, outcome| Answer { address: format!("lic-{id}:1"), outcome };
        let who = Holder { user: "ann\x1b[2J".into(), host: "n1".into(), ..Holder::default() };
        Sight {
            answers: vec![
                answer(1, Ok(status(1))),
                answer(2, Ok(status(2))),
                answer(3, Err("refused".into())),
            ],
            pools: vec![Pool {
                feature: "solver".into(),
                version: "2026.1".into(),
                seats_licensed: 40,
                seats_in_use: 20,
                waiting: 1,
                reservations: vec![Reservation { seats: 10, ..Reservation::default() }],
                state: PoolState::Valid.into(),
                ..Pool::default()
            }],
            checkouts: vec![CheckoutInfo {
                checkout_id: 17,
                holder: Some(who.clone()),
                items: vec![GrantedItem {
                    feature: "solver".into(),
                    seats: 20,
                    version_licensed: "2026.1".into(),
                    ..GrantedItem::default()
                }],
                since_ms: 1_795_442_700_000,
                ..CheckoutInfo::default()
            }],
            queue: vec![QueueEntry {
                place: 1,
                holder: Some(who),
                items: vec![Item { feature: "solver".into(), seats: 30, ..Item::default() }],
                waited_ms: 5_000,
                ..QueueEntry::default()
            }],
            events: vec![HistoryEvent {
                sequence: 9,
                text: "it began".into(),
                ..Default::default()
            }],
            trouble: None,
        }
    }

    fn shown(screen: &mut Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_cluster_on_one_screen() {
        let mut screen = Screen::new(Looks { color: false, ascii: true });
        assert!(shown(&mut screen, 80, 24).contains("looking ..."));
        screen.see(sight(), 10);
        let text = shown(&mut screen, 100, 24);
        for told in [
            "Degraded: 2 of 3 nodes, leader lic-a; the next failure stops checkouts",
            "3 sessions, 2 checkouts; term 7, 2026-11-23 14:05:09Z",
            "ERR   lic-c: no answer",
            "lic-a        leader             1204       0      +2 ms      5 GiB        1 h",
            "lic-c        no answer",
            "[Features]  Checkouts   Queue   Events",
            "solver 2026.1                ####################==========..........     20 of 40",
            "[q] quit",
        ] {
            assert!(text.contains(told), "{told}\n{text}");
        }
        assert!(text.is_ascii(), "{text}");
        screen.press(Input::Next);
        let text = shown(&mut screen, 100, 24);
        assert!(text.contains("17  ann\\u{1b}[2J@n1"), "{text}");
        screen.press(Input::Next);
        assert!(shown(&mut screen, 100, 24).contains("30 seats of solver, waits for 5 s"));
        screen.press(Input::Next);
        assert!(shown(&mut screen, 100, 24).contains("it began"));
        screen.press(Input::Next);
        assert!(shown(&mut screen, 100, 24).contains("[Features]"));
        screen.press(Input::Pause);
        assert!(shown(&mut screen, 100, 24).contains("PAUSED"));
    }

    #[test]
    fn no_terminal_is_too_small() {
        for color in [true, false] {
            let mut screen = Screen::new(Looks { color, ascii: !color });
            for seen in [false, true] {
                if seen {
                    screen.see(sight(), 10);
                }
                for _ in 0..PANELS.len() {
                    screen.press(Input::Scroll(10));
                    for width in [1, 2, 5, 28, 29, 47, 48, 80, 300] {
                        for height in [1, 2, 3, 7, 12, 60] {
                            shown(&mut screen, width, height);
                        }
                    }
                    screen.press(Input::Next);
                }
            }
        }
    }

    #[test]
    fn what_could_not_be_seen_stays_and_is_said_to_be_old() {
        let mut screen = Screen::new(Looks { color: false, ascii: true });
        screen.see(sight(), 10);
        let trouble = Some("no server answers".to_owned());
        screen.see(Sight { trouble, ..Sight::default() }, 10);
        let text = shown(&mut screen, 100, 24);
        assert!(text.contains("not up to date: no server answers"), "{text}");
        assert!(text.contains("20 of 40") && text.contains("Unreachable: "), "{text}");
        assert_eq!(screen.last_event(), 9);
    }

    #[test]
    fn events_are_kept_up_to_a_bound() {
        let mut screen = Screen::new(Looks { color: false, ascii: true });
        for sequence in 1..=9 {
            let events = vec![HistoryEvent { sequence, ..HistoryEvent::default() }];
            screen.see(Sight { events, ..Sight::default() }, 4);
        }
        assert_eq!((screen.events.len(), screen.last_event()), (4, 9));
    }
}
