//! The pages that are known and not yet visited.
//!
//! Its size is bounded, and so is what is under way at each host: a worker is
//! given a page of a host that has a place free, so that one slow host with many
//! pages doesn't hold up all workers. Hosts take turns.
//!
//! ```text
//!          1 offer                2 next               3 done
//!  (new) ─────────▶ waiting ──────────────▶ in work ───────────▶ over
//!      └─▶ known, or full: left out    ▲        │ 4 skip
//!                                      └────────┴──────────▶ over, not counted
//! ```
//!
//! Invariants:
//! 1. A URL is given out once at most.
//! 2. `waiting` is the sum of the hosts' queues, and at most the limit.
//! 3. A host stands in `turns` once if pages of it wait, else not at all.
//! 4. Whatever may let [`Frontier::next`] go on notifies `changed`.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use threeply_runtime::future::select;
use threeply_runtime::sync::local::Notify;
use threeply_runtime::time;
use url::Url;

use crate::http::client::pool::Origin;

/// A page to be visited.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where it is, [normal](super::links::normalize).
    pub url: Url,
    /// How many links away from the start.
    pub depth: u32,
    /// Redirects that led here from the link.
    pub hops: u32,
    /// The page that has the link.
    pub from: Option<Rc<Url>>,
}

/// What became of a page that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It waits.
    Waits,
    /// It is there already, or was.
    Known,
    /// There is no room for it.
    Full,
}

/// What a frontier holds at most.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Pages that wait.
    pub waiting: usize,
    /// Pages that are given out in all.
    pub pages: u64,
    /// Pages of one host in work at once.
    pub per_host: usize,
}

/// The frontier; used by the workers of one loop.
#[derive(Debug)]
pub struct Frontier {
    bounds: Bounds,
    state: RefCell<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    known: HashSet<Url>,
    hosts: HashMap<Origin, Host>,
    turns: VecDeque<Origin>,
    waiting: usize,
    in_work: usize,
    given_out: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Host {
    waiting: VecDeque<Page>,
    in_work: usize,
    /// Between the beginnings of two visits.
    delay: Duration,
    not_before: Option<Instant>,
}

/// What there is for a worker.
enum Look {
    Page(Page),
    /// Something may change, or the time may come.
    Later(Option<Instant>),
    Over,
}

impl Frontier {
    /// An empty frontier.
    pub fn new(bounds: Bounds) -> Frontier {
        Frontier {
            bounds,
            state: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// Adds a page, unless it is known or there is no room. O(1).
    pub fn offer(&self, page: Page) -> Offered {
        let mut state = self.state.borrow_mut();
        if state.known.contains(&page.url) {
            return Offered::Known;
        }
        if state.waiting >= self.bounds.waiting {
            return Offered::Full;
        }
        state.known.insert(page.url.clone());
        state.waiting += 1;
        let origin = Origin::of(&page.url);
        let host = state.hosts.entry(origin.clone()).or_default();
        host.waiting.push_back(page);
        if host.waiting.len() == 1 {
            state.turns.push_back(origin);
        }
        drop(state);
        self.changed.notify_one();
        Offered::Waits
    }

    /// The next page, when there is one that may be visited; `None` when there
    /// will be none any more. To be answered by [`Frontier::done`] or
    /// [`Frontier::skip`]. Cancel-safe. O(hosts that wait).
    pub async fn next(&self) -> Option<Page> {
        loop {
            // No await between the look and the wait: on one loop, nothing can
            // change between them.
            let look = self.look();
            match look {
                Look::Page(page) => return Some(page),
                Look::Over => return None,
                Look::Later(None) => self.changed.notified().await,
                Look::Later(Some(at)) => {
                    select((self.changed.notified(), time::sleep_until(at))).await;
                }
            }
        }
    }

    fn look(&self) -> Look {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if state.closed {
            return Look::Over;
        }
        let all_given = state.given_out >= self.bounds.pages;
        if (state.waiting == 0 || all_given) && state.in_work == 0 {
            // The other workers are to see it, too.
            self.changed.notify_waiters();
            return Look::Over;
        }
        if all_given {
            return Look::Later(None);
        }
        let now = time::now();
        let mut earliest = None;
        for _ in 0..state.turns.len() {
            let Some(origin) = state.turns.pop_front() else {
                break;
            };
            let host = state.hosts.entry(origin.clone()).or_default();
            let too_early = host.not_before.filter(|at| *at > now);
            if host.in_work >= self.bounds.per_host || too_early.is_some() {
                earliest = match (earliest, too_early) {
                    (Some(a), Some(b)) => Some(std::cmp::min::<Instant>(a, b)),
                    (a, b) => a.or(b),
                };
                state.turns.push_back(origin);
                continue;
            }
            let page = host.waiting.pop_front().expect("invariant 3");
            host.in_work += 1;
            host.not_before = (!host.delay.is_zero()).then(|| now + host.delay);
            if !host.waiting.is_empty() {
                state.turns.push_back(origin);
            }
            state.waiting -= 1;
            state.in_work += 1;
            state.given_out += 1;
            return Look::Page(page);
        }
        Look::Later(earliest)
    }

    /// The page was visited.
    pub fn done(&self, page: &Page) {
        let mut state = self.state.borrow_mut();
        state.in_work -= 1;
        if let Some(host) = state.hosts.get_mut(&Origin::of(&page.url)) {
            host.in_work -= 1;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The page was not visited, and doesn't count.
    pub fn skip(&self, page: &Page) {
        self.state.borrow_mut().given_out -= 1;
        self.done(page);
    }

    /// Lets so much time pass between the beginnings of two visits to the page's host.
    pub fn slow_down(&self, page: &Page, delay: Duration) {
        let mut state = self.state.borrow_mut();
        if let Some(host) = state.hosts.get_mut(&Origin::of(&page.url)) {
            host.delay = delay;
            host.not_before = Some(time::now() + delay);
        }
    }

    /// Gives nothing out any more.
    pub fn close(&self) {
        self.state.borrow_mut().closed = true;
        self.changed.notify_waiters();
    }

    /// How many pages wait.
    pub fn waiting(&self) -> usize {
        self.state.borrow().waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use threeply_runtime as runtime;

    fn page(url: &str) -> Page {
        Page {
            url: Url::parse(url).unwrap(),
            depth: 0,
            hops: 0,
            from: None,
        }
    }

    fn bounds(waiting: usize, pages: u64, per_host: usize) -> Frontier {
        Frontier::new(Bounds {
            waiting,
            pages,
            per_host,
        })
    }

    #[test]
    fn a_page_is_given_out_once_and_room_is_bounded() {
        let frontier = bounds(2, 100, 9);
        assert_eq!(frontier.offer(page("http://a.test/1")), Offered::Waits);
        assert_eq!(frontier.offer(page("http://a.test/1")), Offered::Known);
        assert_eq!(frontier.offer(page("http://a.test/2")), Offered::Waits);
        assert_eq!(frontier.offer(page("http://a.test/3")), Offered::Full);
        runtime::block_on(async {
            let first = frontier.next().await.unwrap();
            assert_eq!(first.url.path(), "/1");
            assert_eq!(frontier.offer(page("http://a.test/1")), Offered::Known);
            assert_eq!(
                frontier.offer(page("http://a.test/3")),
                Offered::Waits,
                "one that was left out may come again"
            );
            frontier.done(&first);
            for path in ["/2", "/3"] {
                let next = frontier.next().await.unwrap();
                assert_eq!(next.url.path(), path);
                frontier.done(&next);
            }
            assert!(frontier.next().await.is_none());
        });
    }

    #[test]
    fn hosts_take_turns_and_have_limits() {
        let frontier = bounds(100, 100, 2);
        for path in 1..=4 {
            frontier.offer(page(&format!("http://a.test/{path}")));
        }
        frontier.offer(page("http://b.test/"));
        runtime::block_on(async {
            let mut given = Vec::new();
            for _ in 0..3 {
                given.push(frontier.next().await.unwrap());
            }
            let urls: Vec<&str> = given.iter().map(|page| page.url.as_str()).collect();
            assert_eq!(
                urls,
                ["http://a.test/1", "http://b.test/", "http://a.test/2"]
            );
            let waiting = time::timeout(Duration::from_millis(20), frontier.next()).await;
            assert!(waiting.is_err(), "two of one host are under way");
            frontier.done(&given[0]);
            assert_eq!(frontier.next().await.unwrap().url.path(), "/3");
        });
    }

    #[test]
    fn all_workers_end_when_all_is_done_or_enough() {
        for pages in [3, 100] {
            runtime::block_on(async {
                let frontier = Rc::new(bounds(100, pages, 5));
                frontier.offer(page("http://a.test/0"));
                let workers: Vec<_> = (0..4)
                    .map(|_| {
                        let frontier = frontier.clone();
                        runtime::spawn(async move {
                            let mut visited = 0;
                            while let Some(page) = frontier.next().await {
                                runtime::yield_now().await;
                                let number: u32 = page.url.path()[1..].parse().unwrap();
                                if number < 9 {
                                    let next = format!("http://a.test/{}", number + 1);
                                    frontier.offer(super::tests::page(&next));
                                }
                                visited += 1;
                                frontier.done(&page);
                            }
                            visited
                        })
                    })
                    .collect();
                let mut visited = 0;
                for worker in workers {
                    visited += worker.await.unwrap();
                }
                assert_eq!(visited, pages.min(10));
            });
        }
    }

    #[test]
    fn what_is_skipped_does_not_count_and_closing_ends_it() {
        let frontier = bounds(100, 1, 5);
        for path in 1..=3 {
            frontier.offer(page(&format!("http://a.test/{path}")));
        }
        runtime::block_on(async {
            let first = frontier.next().await.unwrap();
            frontier.skip(&first);
            let second = frontier.next().await.unwrap();
            frontier.done(&second);
            assert!(frontier.next().await.is_none());
            assert_eq!(frontier.waiting(), 1);
        });
        let frontier = bounds(100, 100, 5);
        frontier.offer(page("http://a.test/"));
        frontier.close();
        runtime::block_on(async { assert!(frontier.next().await.is_none()) });
    }

    #[test]
    fn a_slow_host_is_asked_slowly() {
        let frontier = bounds(100, 100, 5);
        frontier.offer(page("http://a.test/1"));
        frontier.offer(page("http://a.test/2"));
        runtime::block_on(async {
            let first = frontier.next().await.unwrap();
            let asked = time::now();
            frontier.slow_down(&first, Duration::from_millis(30));
            frontier.done(&first);
            frontier.next().await.unwrap();
            assert!(time::now() - asked >= Duration::from_millis(30));
        });
    }
}
