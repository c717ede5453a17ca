//! The site that `crawl` crawls when no other is named.
//!
//! | path | what |
//! |---|---|
//! | `/`, `/page/N` | a tree of pages, with links across it in many spellings |
//! | `/old/N` | a redirect to `/page/N` |
//! | `/file/N` | a file that is no page |
//! | `/missing/N`, `/broken` | links that lead nowhere |
//! | `/calendar/N` | a trap: each page leads to the next, for ever; `robots.txt` excludes it |

use std::cell::Cell;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use threeply_runtime as runtime;
use threeply_runtime::time::sleep;
use url::Url;

use crate::Error;
use crate::http::server::{Limits, Reply, Routes, Server};
use crate::local_server::listen;

/// Its pages, the first one included.
pub const PAGES: u32 = 300;
/// Links from a page to those below it.
const BRANCHES: u32 = 6;
/// How long it takes to answer.
const DELAY: Duration = Duration::from_millis(20);

/// The running site. It ends with the loop.
#[derive(Debug)]
pub struct Site {
    /// Where it begins.
    pub url: Url,
    /// How often it was asked for something.
    pub asked: Rc<Cell<u32>>,
    /// How many requests were under way at once at most.
    pub most: Rc<Cell<u32>>,
}

impl Site {
    /// Starts it on the current loop.
    ///
    /// # Errors
    /// When it can't listen.
    pub fn start() -> Result<Site, Error> {
        let listener = listen("127.0.0.1:0".parse().expect("it is an address"))?;
        let address = listener.local_addr().map_err(Error::io("learn the port"))?;
        let (asked, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let under_way = Rc::new(Cell::new(0));
        let (count, peak) = (asked.clone(), most.clone());
        let routes = Routes::new().fallback(move |request| {
            let (count, peak, under_way) = (count.clone(), peak.clone(), under_way.clone());
            async move {
                count.set(count.get() + 1);
                under_way.set(under_way.get() + 1);
                peak.set(peak.get().max(under_way.get()));
                sleep(DELAY).await;
                under_way.set(under_way.get() - 1);
                answer(&request.path)
            }
        });
        let server = Server::new(listener, routes, Limits::default());
        drop(runtime::spawn(server.run(Duration::ZERO)));
        let url = format!("http://{address}/");
        Ok(Site {
            url: url.parse().expect("it is a URL"),
            asked,
            most,
        })
    }
}

fn answer(path: &str) -> Reply {
    if path == "/robots.txt" {
        return Reply::text("User-agent: *\nDisallow: /calendar/\n");
    }
    if path == "/" {
        return Reply::html(page(0));
    }
    let numbered = path
        .strip_prefix('/')
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(kind, number)| Some((kind, number.parse::<u32>().ok()?)));
    match numbered {
        Some(("page", number)) if number < PAGES => Reply::html(page(number)),
        Some(("old", number)) => {
            Reply::redirect(StatusCode::MOVED_PERMANENTLY, &format!("/page/{number}"))
        }
        Some(("file", number)) => Reply::text(format!("file {number}, without links\n")),
        Some(("calendar", day)) => Reply::html(format!(
            "<!doctype html><title>Day {day}</title><a href=\"/calendar/{}\">next day</a>",
            u64::from(day) + 1
        )),
        _ if path == "/broken" => Reply::refusal(StatusCode::INTERNAL_SERVER_ERROR),
        _ => Reply::refusal(StatusCode::NOT_FOUND),
    }
}

fn page(number: u32) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><title>Page {number}</title>\n<h1>Page {number}</h1>\n"
    );
    // Writing to a String can't fail.
    let mut link = |target: &str, text: &str| {
        let _ = writeln!(html, "<p><a href=\"{target}\">{text}</a></p>");
    };
    for below in number * BRANCHES + 1..=number * BRANCHES + BRANCHES {
        if below < PAGES {
            // Both are the same page.
            link(&format!("/page/{below}"), "below");
            link(&format!("/page/../%70age/{below}#part"), "below, again");
        }
    }
    link("/", "home");
    link(&format!("/page/{}", number * 7 % PAGES), "across");
    link(&format!("/calendar/{number}"), "calendar");
    match number % 50 {
        10 => link(&format!("/old/{number}"), "this page, by its old name"),
        20 => link(&format!("/file/{number}"), "a file"),
        30 => link(&format!("/missing/{number}"), "missing"),
        40 => link("/broken", "broken"),
        45 => link("http://elsewhere.invalid/", "another site"),
        _ => link("mailto:nobody@elsewhere.invalid", "a mail"),
    }
    html += &"<p>Some text, so that it weighs something.</p>\n".repeat(20);
    html += "<script>let no = \"<a href='/missing/script'>\"</script>\n";
    html += "<!-- <a href=\"/missing/comment\"> --></html>\n";
    html
}
