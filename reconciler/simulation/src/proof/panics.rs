//! Panics of the service. Its executor takes a step that panics for a failed one, and a process that is killed soon after takes
//! its panic with it; neither makes it a matter of course.

use std::cell::{Cell, RefCell};
use std::sync::Once;

thread_local! {
    static SEEN: Cell<u64> = const { Cell::new(0) };
    static NEWEST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Watches for panics on its thread, on which a life and all of its service run.
pub(crate) struct Panics {
    before: u64,
}

impl Panics {
    /// From now on. Panics are told on standard error as before.
    pub(crate) fn watched() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let tells = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                SEEN.set(SEEN.get() + 1);
                NEWEST.set(panic.to_string());
                tells(panic);
            }));
        });
        Self { before: SEEN.get() }
    }

    /// The newest since then, with where it was.
    pub(crate) fn newest(&self) -> Option<String> {
        (SEEN.get() > self.before).then(|| NEWEST.with_borrow(Clone::clone))
    }
}
