//! What ends the quiet between two requests, besides the next: the server's shutdown,
//! and time.
//!
//! Read [`super::conversation`] first. A busy connection is quiet thousands of times a
//! second and each time for some microseconds. So a connection asks for both once, and
//! not once for each request: its place among those that wait for the shutdown stays
//! until it is over, and its timer is left to fire at the end of *some* quiet of the
//! past, where it is moved on to the end of the present one. That costs one wake-up in
//! vain for each `limit` of a connection's life, in place of two timers a request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use threeply_runtime::cancel::{CancellationToken, WaitForCancellation};
use threeply_runtime::time::{self, Sleep};

/// The quiet of one connection, again and again.
pub(super) struct Quiet<'a> {
    shutdown: WaitForCancellation<'a>,
    limit: Duration,
    /// When the present quiet lasts too long; `None` before it was waited for.
    until: Option<Instant>,
    /// Armed for `until` or earlier.
    timer: Option<Sleep>,
}

impl<'a> Quiet<'a> {
    pub(super) fn new(shutdown: &'a CancellationToken, limit: Duration) -> Self {
        Quiet {
            shutdown: shutdown.cancelled(),
            limit,
            until: None,
            timer: None,
        }
    }

    /// A new quiet begins. It is counted from the first [`Quiet::poll_over`] on.
    pub(super) fn begin(&mut self) {
        self.until = None;
    }

    /// Ready when the quiet has lasted for its limit, or the server shuts down.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.shutdown).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let limit = self.limit;
        let until = *self.until.get_or_insert_with(|| time::now() + limit);
        let timer = self.timer.get_or_insert_with(|| time::sleep_until(until));
        loop {
            ready!(Pin::new(&mut *timer).poll(cx));
            if time::now() >= until {
                return Poll::Ready(());
            }
            // It was the end of an earlier quiet.
            timer.reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use threeply_runtime::EventLoop;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn each_quiet_has_the_whole_limit() {
        let virtual_time = EventLoop::builder().virtual_time(true).build().unwrap();
        virtual_time.block_on(async {
            let token = CancellationToken::new();
            let mut quiet = Quiet::new(&token, LIMIT);
            // Busy: quiet for a second, and again, for longer than the limit.
            for _ in 0..100 {
                quiet.begin();
                let over = poll_fn(|cx| quiet.poll_over(cx));
                assert!(time::timeout(Duration::from_secs(1), over).await.is_err());
            }
            let began = time::now();
            quiet.begin();
            poll_fn(|cx| quiet.poll_over(cx)).await;
            assert_eq!(time::now() - began, LIMIT);
        });
    }

    #[test]
    fn a_quiet_ends_with_the_server_in_whichever_round() {
        let virtual_time = EventLoop::builder().virtual_time(true).build().unwrap();
        virtual_time.block_on(async {
            let token = CancellationToken::new();
            let mut quiet = Quiet::new(&token, LIMIT);
            for _ in 0..3 {
                quiet.begin();
                let over = poll_fn(|cx| quiet.poll_over(cx));
                assert!(time::timeout(Duration::from_secs(1), over).await.is_err());
            }
            let began = time::now();
            let end = threeply_runtime::spawn({
                let token = token.clone();
                async move {
                    time::sleep(Duration::from_secs(2)).await;
                    token.cancel()
                }
            });
            quiet.begin();
            poll_fn(|cx| quiet.poll_over(cx)).await;
            assert_eq!(time::now() - began, Duration::from_secs(2));
            assert!(end.await.unwrap());
        });
    }
}
