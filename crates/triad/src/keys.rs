//! Single keys from a terminal, for the demo.

use std::io::{self, IsTerminal};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use tokio::sync::mpsc;

/// How long the reader waits before it looks whether anybody still listens.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `k`
    Kill,
    /// `r`
    Restart,
    /// `q`, Escape or Ctrl-C
    Quit,
}

/// Keys as they are pressed. Dropping it leaves the terminal as it was.
pub struct Keys {
    pressed: mpsc::UnboundedReceiver<Key>,
    reader: Option<JoinHandle<()>>,
}

impl Keys {
    /// Starts reading, if stdin and stdout are a terminal.
    pub fn read() -> Option<Keys> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        let (press, pressed) = mpsc::unbounded_channel();
        let reader = thread::Builder::new().name("keys".into()).spawn(move || watch(&press)).ok();
        Some(Keys { pressed, reader: Some(reader?) })
    }

    /// The next key; `None` when the terminal is gone.
    pub async fn next(&mut self) -> Option<Key> {
        self.pressed.recv().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.pressed.close();
        if let Some(reader) = self.reader.take() {
            // It looks every LOOK_INTERVAL whether anybody still listens.
            let _ = reader.join();
        }
    }
}

/// Raw mode lasts only while a key is awaited, so that lines printed meanwhile
/// end as they should.
fn watch(pressed: &mpsc::UnboundedSender<Key>) {
    while !pressed.is_closed() {
        if enable_raw_mode().is_err() {
            return;
        }
        let event = match poll(LOOK_INTERVAL) {
            Ok(true) => read().ok(),
            Ok(false) => None,
            Err(_) => return,
        };
        let _ = disable_raw_mode();
        if let Some(key) = event.and_then(meaning)
            && pressed.send(key).is_err()
        {
            return;
        }
    }
}

fn meaning(event: Event) -> Option<Key> {
    let Event::Key(key) = event else { return None };
    if key.kind != KeyEventKind::Press {
        return None;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Char('k') => Some(Key::Kill),
        KeyCode::Char('r') => Some(Key::Restart),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        _ => None,
    }
}
