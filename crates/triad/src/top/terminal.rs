//! The terminal: taken whole, and given back as it was.

use std::io::{self, Stdout};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use ratatui::Frame;
use ratatui::backend::CrosstermBackend;
use tokio::sync::mpsc;

/// How long the reader waits before it looks whether anybody still listens.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Keys that are waiting: more than anybody types between two frames.
const WAITING_MAX: usize = 64;

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Leave.
    Quit,
    /// Look now.
    Refresh,
    /// Stop looking, or go on.
    Pause,
    /// The next panel.
    Next,
    /// The one before.
    Previous,
    /// So many rows down, or up.
    Scroll(i32),
    /// To the first row.
    Top,
    /// The window has another size.
    Resized,
}

/// A terminal that shows frames and hears keys.
pub struct Terminal {
    inner: ratatui::Terminal<CrosstermBackend<Stdout>>,
    inputs: mpsc::Receiver<Input>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Takes the screen. A panic gives it back before it is told.
    pub fn open() -> io::Result<Self> {
        let inner = ratatui::try_init()?;
        let (tell, inputs) = mpsc::channel(WAITING_MAX);
        let reader = thread::Builder::new().name("keys".into()).spawn(move || watch(&tell));
        let reader = reader.inspect_err(|_| ratatui::restore())?;
        Ok(Terminal { inner, inputs, reader: Some(reader) })
    }

    /// Shows a frame.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.inner.draw(draw).map(|_| ())
    }

    /// The next input; `None` when the terminal is gone. Cancel safe.
    pub async fn input(&mut self) -> Option<Input> {
        self.inputs.recv().await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.inputs.close();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        ratatui::restore();
    }
}

fn watch(tell: &mpsc::Sender<Input>) {
    while !tell.is_closed() {
        let event = match poll(LOOK_INTERVAL) {
            Ok(true) => read(),
            Ok(false) => continue,
            Err(error) => Err(error),
        };
        let Ok(event) = event else { return };
        // Whoever holds a key down does not wait for each of its repetitions.
        if let Some(input) = meaning(&event) {
            let _ = tell.try_send(input);
        }
    }
}

fn meaning(event: &Event) -> Option<Input> {
    let key = match event {
        Event::Resize(..) => return Some(Input::Resized),
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        _ => return None,
    };
    let KeyEvent { code, modifiers, .. } = key;
    Some(match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Input::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Input::Quit,
        KeyCode::Char('r') => Input::Refresh,
        KeyCode::Char('p' | ' ') => Input::Pause,
        KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => Input::Next,
        KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => Input::Previous,
        KeyCode::Down | KeyCode::Char('j') => Input::Scroll(1),
        KeyCode::Up | KeyCode::Char('k') => Input::Scroll(-1),
        KeyCode::PageDown => Input::Scroll(10),
        KeyCode::PageUp => Input::Scroll(-10),
        KeyCode::Home | KeyCode::Char('g') => Input::Top,
        _ => return None,
    })
}
