//! The chat's page in a real browser, where there is one.
//!
//! The browser is told what to do by its debugging protocol, which is JSON over
//! a WebSocket.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_tungstenite::tungstenite::{self, Message, WebSocket};
use serde_json::{Value, json};

use crate::chat::{Member, chat};
use crate::kit::until;

const PATIENCE: Duration = Duration::from_secs(40);

/// A browser without a window; it ends with this.
struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    last_id: u64,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    /// Starts one that shows `url`, if there is any.
    fn start(url: &str, profile: &Path) -> Option<Browser> {
        let mut child = ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find_map(|name| {
                Command::new(name)
                    .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
                    .args(["--disable-dev-shm-usage", "--no-first-run"])
                    .args([
                        "--disable-background-networking",
                        "--remote-debugging-port=0",
                    ])
                    .arg(format!("--user-data-dir={}", profile.display()))
                    .arg(url)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .ok()
            })?;
        let port_file = profile.join("DevToolsActivePort");
        let port = || {
            let text = std::fs::read_to_string(&port_file).ok()?;
            text.lines().next()?.parse::<u16>().ok()
        };
        let mut started = None;
        until("the browser to start", PATIENCE, || {
            started = port();
            started.is_some() || child.try_wait().unwrap().is_some()
        });
        // One that ends at once can't run here.
        let port = started?;
        let mut target = None;
        until("its page to open", PATIENCE, || {
            let listed = Command::new("curl")
                .args(["-s", &format!("http://127.0.0.1:{port}/json")])
                .output()
                .ok()
                .and_then(|out| serde_json::from_slice::<Value>(&out.stdout).ok());
            let pages = listed
                .and_then(|list| list.as_array().cloned())
                .unwrap_or_default();
            target = pages
                .iter()
                .find(|page| page["url"].as_str().is_some_and(|at| at.starts_with(url)))
                .and_then(|page| page["webSocketDebuggerUrl"].as_str().map(str::to_owned));
            target.is_some()
        });
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(target.unwrap(), stream).unwrap();
        Some(Browser {
            child,
            socket,
            last_id: 0,
        })
    }

    /// The value of a JavaScript expression in the page.
    fn evaluate(&mut self, expression: &str) -> Value {
        self.last_id += 1;
        let request = json!({
            "id": self.last_id,
            "method": "Runtime.evaluate",
            "params": { "expression": expression, "returnByValue": true },
        });
        self.socket
            .send(Message::text(request.to_string()))
            .unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else {
                continue;
            };
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.last_id {
                return answer["result"]["result"]["value"].clone();
            }
        }
    }

    #[track_caller]
    fn shows(&mut self, selector: &str, text: &str) {
        let expression = format!("document.querySelector({selector:?})?.textContent ?? ''");
        until(&format!("the page to show {text:?}"), PATIENCE, || {
            let shown = self.evaluate(&expression);
            shown.as_str().unwrap_or_default().contains(text)
        });
    }
}

#[test]
fn the_page_chats_in_a_real_browser() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no curl to find the browser's page with");
        return;
    }
    let server = chat(&[]);
    let mut anna = Member::join(&server, "Anna");
    anna.say("before you came <img src=x onerror=alert(1)>");
    anna.hear("said");
    let profile = tempfile::tempdir().unwrap();
    let url = format!("http://{}/?name=Bella", server.address);
    let Some(mut browser) = Browser::start(&url, profile.path()) else {
        eprintln!("skipped: there is no chromium, or it does not start");
        return;
    };
    assert_eq!(anna.hear("joined")["name"], "Bella");
    browser.shows("#state", "connected as Bella");
    browser.shows("#here", "2 here: Anna, Bella");
    browser.shows("#lines", "before you came <img src=x onerror=alert(1)>");
    assert_eq!(
        browser.evaluate("document.images.length"),
        0,
        "text stays text"
    );
    anna.say("hello, browser");
    browser.shows("#lines", "hello, browser");
    browser.evaluate(
        "document.querySelector('#text').value = 'hello from the browser'; \
         document.querySelector('#say').requestSubmit()",
    );
    while anna.hear("said")["text"] != "hello from the browser" {}
    browser.shows(".mine", "hello from the browser");
    // As narrow as a phone, nothing sticks out.
    assert_eq!(
        browser.evaluate("document.documentElement.scrollWidth <= innerWidth"),
        true
    );

    // The server goes, and the page says so and tries again until it is back.
    let address = server.address.clone();
    drop(anna);
    let (ran, _) = server.interrupt();
    assert!(ran.status.success(), "{ran:?}");
    browser.shows("#state", "trying again");
    let mut again = crate::web::start(crate::kit::demo("chat").args(["--listen", &address]));
    again.line();
    assert_eq!(again.line(), "Bella joined; 1 here");
    browser.shows("#state", "connected as Bella");
    drop(browser);
    assert!(again.line().starts_with("Bella "), "she has gone");
}
