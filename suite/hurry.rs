//! A runtime whose time passes as fast as nothing happens in it.
//!
//! Waits are most of what a run on the embedded reference takes: a check that must see nothing happen for a minute, a
//! timeout that runs out under a fault. Both ends of such a run are in one runtime, so its time may stand still while
//! anything is at work and leap ahead while all of it waits. A timeout then measures waiting alone, and no load on the
//! machine makes it run out.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// How often it is looked at whether anything is at work.
const LOOK: Duration = Duration::from_micros(500);
/// More work than this between two looks is more than the look itself.
const IDLE: Duration = Duration::from_micros(150);
/// The first leap. Each that follows on it is four times as long: an answer on its way through a socket loses little time.
const SHORTEST: Duration = Duration::from_millis(2);
/// The longest leap: shorter than what timers of one moment differ by.
const LONGEST: Duration = Duration::from_millis(250);

/// Runs `work` to its end on a runtime of its own, on this thread. All of tokio's time in it is this time.
///
/// # Errors
///
/// The runtime cannot be made.
pub fn run<F: Future>(work: impl FnOnce() -> F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    let (look, over) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (looks, ends) = (Arc::clone(&look), Arc::clone(&over));
    // While a blocking task runs, tokio does not leap by itself: it would do so without regard to what is in a socket.
    runtime.spawn_blocking(move || {
        while !ends.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            looks.notify_one();
        }
    });
    let metrics = runtime.metrics();
    runtime.spawn(async move {
        let mut worked = metrics.worker_total_busy_duration(0);
        let mut leap = SHORTEST;
        loop {
            look.notified().await;
            let so_far = metrics.worker_total_busy_duration(0);
            if so_far.saturating_sub(worked) < IDLE {
                tokio::time::advance(leap).await;
                leap = (leap * 4).min(LONGEST);
            } else {
                leap = SHORTEST;
                tokio::time::advance(LOOK).await;
            }
            worked = so_far;
        }
    });
    let done = runtime.block_on(async { work().await });
    over.store(true, Ordering::Relaxed);
    runtime.shutdown_background();
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn waiting_costs_little_and_work_is_not_hurried() {
        let wall = Instant::now();
        let (waited, worked) = run(|| async {
            let start = tokio::time::Instant::now();
            tokio::time::sleep(Duration::from_secs(60)).await;
            let waited = start.elapsed();
            let start = tokio::time::Instant::now();
            for _ in 0..50 {
                std::thread::sleep(Duration::from_millis(2));
                tokio::task::yield_now().await;
            }
            (waited, start.elapsed())
        })
        .unwrap();
        assert!(
            wall.elapsed() < Duration::from_secs(20),
            "{:?}",
            wall.elapsed()
        );
        assert!(
            waited >= Duration::from_secs(60) && waited < Duration::from_secs(61),
            "{waited:?}"
        );
        assert!(worked < Duration::from_millis(500), "{worked:?}");
    }
}
