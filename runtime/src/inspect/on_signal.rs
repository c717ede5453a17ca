//! A dump on stderr for whoever sends a signal.
//!
//! *Read after* [`super::publish`]; the beginning is [`super`].
//!
//! A thread of its own runs a loop of its own, waits for the signal there and asks
//! the watched loop from outside: so the answer comes also from a loop that is
//! blocked, though then it is only what that publishes.

use std::io::{self, Write};
use std::sync::mpsc;

use super::watcher::Watcher;
use crate::cancel::CancellationToken;
use crate::future::{Either, select};
use crate::limits::DUMP_ON_SIGNAL_PATIENCE;
use crate::signal::{Signal, Signals};
use crate::{Handle, block_on};

/// Begins to catch the signal, and returns when it does.
pub(crate) fn start(handle: Handle, signal: Signal) -> io::Result<Watcher> {
    let (ready, begun) = mpsc::channel();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let watcher = Watcher::start(
        "threeply-dump",
        Some(Box::new(move || {
            stop.cancel();
        })),
        move |_| {
            block_on(async {
                match Signals::new(&[signal]) {
                    Ok(signals) => {
                        let _ = ready.send(Ok(()));
                        answer(handle, signals, &stopped).await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        },
    )?;
    begun.recv().unwrap_or(Ok(()))?;
    Ok(watcher)
}

async fn answer(handle: Handle, mut signals: Signals, stopped: &CancellationToken) {
    while let Either::First(Ok(signal)) = select((signals.recv(), stopped.cancelled())).await {
        let dump = crate::unblock(move || handle.dump(DUMP_ON_SIGNAL_PATIENCE)).await;
        let text = match dump {
            Ok(Ok(dump)) => dump.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        // A closed stderr is no reason to end.
        let _ = writeln!(io::stderr(), "threeply: on {signal}: {text}");
    }
}
