//! Work that waits for all other work.

use std::cell::Cell;

thread_local! {
    static IDLE: Cell<bool> = const { Cell::new(false) };
}

/// From now on the calling thread runs only when no other thread wants its processor: searches and
/// changes come first. A thread of the lowest nice value still gets every hundredth of the time or so,
/// in slices of milliseconds, and keeps its processor from counting as free for a thread that wakes;
/// one of this class does neither. Where that is not to be had, it runs as any other.
pub(crate) fn run_when_idle() {
    IDLE.set(true);
    #[cfg(target_os = "linux")]
    {
        let plain = libc::sched_param { sched_priority: 0 };
        #[expect(unsafe_code, reason = "rustix and std have no call for it")]
        // SAFETY: 0 is the calling thread, and the parameter lives as long as the call. What it
        // returns tells whether it worked: no is as good as yes.
        let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const plain) };
    }
    // A thread that has just begun may have taken a search's processor, as any other may.
    give_way();
}

/// To be called after every piece of a long work, a millisecond at most: a thread of the idle class gives its
/// processor away. If it has come to run where a search runs that never sleeps, it would else stay
/// until the next tick of the clock, 4 ms or so.
#[inline]
pub(crate) fn give_way() {
    if IDLE.get() {
        std::thread::yield_now();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn the_calling_thread_alone_becomes_idle() {
        // The last but two of the fields of a thread's state that the kernel shows: its policy.
        let policy = || {
            let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let (_, fields) = text.rsplit_once(')').unwrap();
            fields.split_whitespace().nth(38).unwrap().parse::<i32>().unwrap()
        };
        let own = std::thread::spawn(move || {
            super::run_when_idle();
            super::give_way();
            policy()
        });
        assert_eq!(own.join().unwrap(), libc::SCHED_IDLE);
        assert_eq!(policy(), libc::SCHED_OTHER);
    }
}
