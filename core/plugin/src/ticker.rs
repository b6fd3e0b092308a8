//! The clock of the deadlines: a thread that advances the engine's epoch while plugins run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

/// How often running guests look at their deadline.
const TICK: Duration = Duration::from_millis(5);
/// Ticks without a call before the thread goes to sleep: a batch's calls come in a row, and each
/// should not have to wake it.
const IDLE_TICKS: u32 = 20;

struct State {
    /// Calls under way.
    calls: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// Advances the epoch every few milliseconds while calls are under way, and sleeps otherwise.
pub(crate) struct Ticker {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// A call under way, until dropped.
pub(crate) struct Running<'a>(&'a State);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    pub(crate) fn new(engine: &Engine) -> std::io::Result<Self> {
        let state = Arc::new(State {
            calls: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let (engine, shared) = (engine.weak(), Arc::clone(&state));
        let run = move || tick(&shared, || engine.upgrade().map(|engine| engine.increment_epoch()));
        let thread = std::thread::Builder::new().name("plugin-clock".to_owned()).spawn(run)?;
        Ok(Self { state, thread: Some(thread) })
    }

    /// Says that a call starts.
    pub(crate) fn running(&self) -> Running<'_> {
        // The thread announces sleep before it looks at the calls, and we count the call before we
        // look at the announcement: in the one order of these four, at least one sees the other.
        self.state.calls.fetch_add(1, Ordering::SeqCst);
        if self.state.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
        Running(&self.state)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and if it did there would be nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn tick(state: &State, mut advance: impl FnMut() -> Option<()>) {
    let mut idle = 0;
    while !state.stop.load(Ordering::SeqCst) {
        if state.calls.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else if idle < IDLE_TICKS {
            idle += 1;
        } else {
            state.asleep.store(true, Ordering::SeqCst);
            if state.calls.load(Ordering::SeqCst) == 0 && !state.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
            state.asleep.store(false, Ordering::SeqCst);
            idle = 0;
            continue;
        }
        std::thread::park_timeout(TICK);
        if advance().is_none() {
            return;
        }
    }
}
