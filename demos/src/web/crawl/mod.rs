//! All pages of a web site, found by following its links.
//!
//! ```text
//!   frontier ──next──▶ worker: robots ─▶ fetch ─▶ links ──offer──▶ frontier
//!  (bounded, each     (--at-once tasks                 (parsed on the
//!   URL once, hosts     of one loop)                    thread pool)
//!   take turns)
//! ```
//!
//! Read [`frontier`] (what is visited when), [`links`] (what counts as a link,
//! and as the same page), [`robots`], [`report`]. Redirects are followed as links
//! are, so that limits and `robots.txt` hold for them, too.
//!
//! Without a URL it crawls a site of its own ([`site`]), with all that makes
//! crawling hard: loops, many spellings of one page, broken links, a trap.

pub mod frontier;
pub mod links;
pub mod report;
pub mod robots;
pub mod site;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use http::header;
use indicatif::{ProgressBar, ProgressStyle};
use threeply_runtime as runtime;
use threeply_runtime::future::{Either, join_all, select_biased};
use threeply_runtime::signal::{Signal, Signals};
use url::Url;

use crate::http::client::pool::Origin;
use crate::http::client::{Client, Config, Response, Retry, Tls, redirect};
use crate::output::Output;
use crate::{Error, cli, http as web, limits};
use frontier::{Bounds, Frontier, Offered, Page};
use report::Report;
use robots::AllRules;
use site::Site;

/// Follows the links of a web site and reports what it finds.
#[derive(Debug, Parser)]
#[command(name = "crawl", version)]
pub struct Arguments {
    /// Where to begin. Without it, a site of our own
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// How many links to go from there
    #[arg(long, default_value = "20", value_parser = cli::depth, allow_negative_numbers = true)]
    depth: u32,
    /// How many pages to visit
    #[arg(long, default_value_t = limits::CRAWL_PAGES, value_parser = cli::pages, allow_negative_numbers = true)]
    pages: u64,
    /// How many pages at once
    #[arg(long, default_value_t = limits::CRAWL_AT_ONCE, value_parser = cli::at_once, allow_negative_numbers = true)]
    at_once: u32,
    /// How many pages of one host at once
    #[arg(long, default_value_t = limits::CRAWL_PER_HOST, value_parser = cli::at_once, allow_negative_numbers = true)]
    per_host: u32,
    /// Follow links to other hosts, too
    #[arg(long)]
    everywhere: bool,
    /// Visit what robots.txt excludes, too
    #[arg(long)]
    ignore_robots: bool,
    /// Seconds after which a page is given up
    #[arg(long, default_value = "30", value_parser = cli::seconds, allow_negative_numbers = true)]
    timeout: Duration,
    /// Trust the authorities in this PEM file instead of Mozilla's list
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
}

/// `crawl`'s main. Ctrl-C ends it, with the report so far.
///
/// # Errors
/// [`Error::Usage`]; [`Error::Failed`] when the first page can't be visited;
/// [`Error::Interrupted`].
pub fn main(arguments: Arguments) -> Result<(), Error> {
    let usage = |e: web::Error| Error::Usage(e.to_string());
    let given = match &arguments.url {
        Some(text) => Some(web::target::parse(text).map_err(usage)?),
        None => None,
    };
    let tls = Tls {
        ca_bundle: arguments.cacert.clone(),
        ..Tls::default()
    };
    tls.connector().map_err(usage)?;
    limits::raise_open_files();
    let mut out = Output::new();
    runtime::block_on(async {
        let mut stop = Signals::new(&[Signal::INTERRUPT, Signal::TERMINATE])
            .map_err(Error::io("listen for Ctrl-C"))?;
        let own = match given {
            Some(_) => None,
            None => Some(Site::start()?),
        };
        let start = match (given, &own) {
            (Some(url), _) => url,
            (None, Some(site)) => site.url.clone(),
            (None, None) => return Ok(()),
        };
        let crawl = Rc::new(Crawl::new(start, &arguments, tls));
        let outcome = crawl.run(&arguments, &mut stop, &mut out).await;
        if let Some(site) = own {
            out.line(format_args!(
                "The site was asked {} times, {} at once at most.",
                site.asked.get(),
                site.most.get()
            ))?;
        }
        outcome
    })
}

/// A crawl under way; its workers share it.
struct Crawl {
    client: Client,
    frontier: Frontier,
    rules: AllRules,
    report: RefCell<Report>,
    /// Why the first page could not be visited.
    failed: RefCell<Option<String>>,
    /// The hosts whose pages are visited; `None`: of all.
    scope: Option<RefCell<HashSet<Origin>>>,
    depth: u32,
    bar: ProgressBar,
    visited: Cell<u64>,
}

impl Crawl {
    fn new(mut start: Url, arguments: &Arguments, tls: Tls) -> Crawl {
        links::normalize(&mut start);
        let client = Client::new(Config {
            connections: arguments.at_once as usize,
            connections_per_host: arguments.per_host as usize,
            read_timeout: arguments.timeout,
            total_timeout: Some(arguments.timeout),
            body_bytes: limits::MAX_PAGE_BYTES,
            redirects: 0,
            retry: Retry::times(1),
            cookies: None,
            tls,
            ..Config::default()
        });
        let frontier = Frontier::new(Bounds {
            waiting: limits::CRAWL_FRONTIER,
            pages: arguments.pages,
            per_host: arguments.per_host as usize,
        });
        let home = HashSet::from([Origin::of(&start)]);
        frontier.offer(Page {
            url: start,
            depth: 0,
            hops: 0,
            from: None,
        });
        let style = ProgressStyle::with_template("{spinner} {pos} pages, {per_sec}, {msg}")
            .expect("the template is valid");
        Crawl {
            client,
            frontier,
            rules: AllRules::new(arguments.ignore_robots),
            report: RefCell::default(),
            failed: RefCell::default(),
            scope: (!arguments.everywhere).then(|| RefCell::new(home)),
            depth: arguments.depth,
            bar: ProgressBar::no_length().with_style(style),
            visited: Cell::new(0),
        }
    }

    /// Lets the workers work until all is visited, or somebody stops it.
    async fn run(
        self: &Rc<Self>,
        arguments: &Arguments,
        stop: &mut Signals,
        out: &mut Output,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let workers = join_all((0..arguments.at_once).map(|_| {
            let crawl = self.clone();
            async move {
                while let Some(page) = crawl.frontier.next().await {
                    crawl.visit(&page).await;
                }
            }
        }));
        let interrupted = match select_biased((stop.recv(), workers)).await {
            Either::First(_signal) => true,
            Either::Second(_all_ended) => false,
        };
        self.frontier.close();
        self.bar.finish_and_clear();
        if let Some(why) = self.failed.take() {
            return Err(Error::Failed(why));
        }
        if interrupted {
            out.line("Stopped; what was seen by then:")?;
        }
        let report = self.report.borrow();
        report.print(started.elapsed(), self.frontier.waiting(), out)?;
        if interrupted {
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    async fn visit(&self, page: &Page) {
        let rules = self.rules.of(&page.url, &self.client).await;
        if !rules.allow(&page.url) {
            self.report.borrow_mut().excluded += 1;
            self.frontier.skip(page);
            if page.from.is_none() {
                self.failed.replace(Some(format!(
                    "the robots.txt of {} excludes {}, or can't be had; --ignore-robots visits it all the same",
                    web::target::authority(&page.url),
                    page.url,
                )));
            }
            return;
        }
        if let Some(delay) = rules.delay() {
            self.frontier.slow_down(page, delay);
        }
        if let Err(e) = self.fetch(page).await {
            if page.from.is_none() {
                self.failed.replace(Some(format!("{}: {e}", page.url)));
            }
            self.report
                .borrow_mut()
                .broken(&page.url, e, page.from.clone());
        }
        self.frontier.done(page);
        self.visited.set(self.visited.get() + 1);
        self.bar.set_position(self.visited.get());
        self.bar
            .set_message(format!("{} wait", self.frontier.waiting()));
    }

    async fn fetch(&self, page: &Page) -> Result<(), web::Error> {
        let response = self.client.get(&page.url).send().await?;
        let next = redirect::target(&page.url, response.status(), response.headers())?;
        if let Some(next) = next {
            self.report.borrow_mut().redirects += 1;
            return self.follow_redirect(page, next);
        }
        let response = response.error_for_status()?;
        let bytes = if is_page(&response) {
            self.read(page, response).await?
        } else {
            self.weigh(response).await?
        };
        let mut report = self.report.borrow_mut();
        report.pages += 1;
        report.bytes += bytes;
        Ok(())
    }

    fn follow_redirect(&self, page: &Page, mut next: Url) -> Result<(), web::Error> {
        links::normalize(&mut next);
        if page.hops >= limits::MAX_REDIRECTS {
            return Err(web::Error::TooManyRedirects { limit: page.hops });
        }
        if page.from.is_none()
            && let Some(scope) = &self.scope
        {
            // Whoever asks for example.com means the www.example.com that it
            // leads to.
            scope.borrow_mut().insert(Origin::of(&next));
        }
        self.offer(Page {
            url: next,
            hops: page.hops + 1,
            ..page.clone()
        });
        Ok(())
    }

    /// Reads a page and offers what it links to; returns its length.
    async fn read(&self, page: &Page, response: Response) -> Result<u64, web::Error> {
        let html = match response.text().await {
            // It is there, but nobody would read so much of it.
            Err(web::Error::TooLarge { limit, .. }) => return Ok(limit),
            text => text?,
        };
        let bytes = html.len() as u64;
        let url = page.url.clone();
        // Taking a page apart is computing: the loop is free for the others.
        let found = threeply_pools::thread::spawn(move || links::links(&html, &url));
        let found = found.await.map_err(|e| web::Error::Decode(e.to_string()))?;
        let from = Rc::new(page.url.clone());
        for url in found {
            self.offer(Page {
                url,
                depth: page.depth + 1,
                hops: 0,
                from: Some(from.clone()),
            });
        }
        Ok(bytes)
    }

    /// Looks how long a file is; a short one is read, so that its connection
    /// can be kept.
    async fn weigh(&self, response: Response) -> Result<u64, web::Error> {
        match response.content_length() {
            Some(length) if length > limits::DISCARD_BYTES as u64 => Ok(0),
            _ => Ok(response.bytes().await?.len() as u64),
        }
    }

    fn offer(&self, page: Page) {
        let mut report = self.report.borrow_mut();
        let inside = match &self.scope {
            None => true,
            Some(scope) => scope.borrow().contains(&Origin::of(&page.url)),
        };
        if !inside {
            report.elsewhere += 1;
        } else if page.depth > self.depth {
            report.too_deep += 1;
        } else if self.frontier.offer(page) == Offered::Full {
            report.left_out += 1;
        }
    }
}

/// Whether there may be links in it.
fn is_page(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let kind = content_type.and_then(|value| value.to_str().ok()?.split(';').next());
    kind.is_some_and(|kind| {
        matches!(
            kind.trim().to_ascii_lowercase().as_str(),
            "text/html" | "application/xhtml+xml"
        )
    })
}
