//! What the owners of sites ask crawlers for, in `robots.txt`.
//!
//! Reading it is `robotxt`'s work (RFC 9309, with `Crawl-delay`). Ours is to
//! fetch it once for each host, whoever comes first, while others wait for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use robotxt::{AccessResult, Robots};
use threeply_runtime::sync::local::OnceCell;
use url::Url;

use crate::http::client::pool::Origin;
use crate::http::client::{Client, Response};
use crate::limits;

/// The name by which `robots.txt` may address us.
pub const NAME: &str = "threeply";

/// The rules of the hosts that were met.
#[derive(Debug, Default)]
pub struct AllRules {
    hosts: RefCell<HashMap<Origin, Rc<OnceCell<Rc<Rules>>>>>,
    /// Allow everything and fetch nothing.
    ignored: bool,
}

/// The rules of one host.
#[derive(Debug)]
pub struct Rules(Robots);

impl Rules {
    /// Whether a page may be visited.
    pub fn allow(&self, url: &Url) -> bool {
        self.0.is_url_allowed(url)
    }

    /// What the host wants to pass between two visits, up to our limit.
    pub fn delay(&self) -> Option<Duration> {
        let delay = self.0.crawl_delay()?;
        Some(delay.min(limits::MAX_CRAWL_DELAY)).filter(|delay| !delay.is_zero())
    }
}

impl AllRules {
    /// No rules are known yet; with `ignored`, none ever will be.
    pub fn new(ignored: bool) -> AllRules {
        AllRules {
            ignored,
            ..AllRules::default()
        }
    }

    /// The rules of a page's host, fetched if nobody has yet. Without such a
    /// file everything is allowed; when it can't be had (the server is broken
    /// or away), nothing is.
    pub async fn of(&self, url: &Url, client: &Client) -> Rc<Rules> {
        let cell = self
            .hosts
            .borrow_mut()
            .entry(Origin::of(url))
            .or_default()
            .clone();
        let fetched = || async { Rc::new(fetch(url, client, self.ignored).await) };
        cell.get_or_init(fetched).await.clone()
    }
}

async fn fetch(url: &Url, client: &Client, ignored: bool) -> Rules {
    if ignored {
        return Rules(Robots::allow_all());
    }
    let Ok(at) = robotxt::robots_url(url) else {
        return Rules(Robots::allow_all());
    };
    // The standard asks for five redirects at least.
    let sent = client.get(at.as_str()).redirects(5).send().await;
    let rules = match sent {
        Ok(response) if response.status().is_success() => match beginning(response).await {
            Ok(text) => Robots::parse(&text, NAME),
            Err(_) => Robots::from_access(AccessResult::Unreachable, NAME),
        },
        Ok(response) if response.status().is_server_error() => {
            Robots::from_access(AccessResult::Unreachable, NAME)
        }
        Ok(_) => Robots::from_access(AccessResult::Unavailable, NAME),
        Err(crate::http::Error::TooManyRedirects { .. }) => {
            Robots::from_access(AccessResult::TooManyRedirects, NAME)
        }
        Err(_) => Robots::from_access(AccessResult::Unreachable, NAME),
    };
    Rules(rules)
}

/// As much of the file as is looked at; what follows is left unread.
async fn beginning(mut response: Response) -> Result<Vec<u8>, crate::http::Error> {
    let mut text = Vec::new();
    while text.len() < robotxt::BYTE_LIMIT
        && let Some(block) = response.chunk().await?
    {
        text.extend_from_slice(&block);
    }
    Ok(text)
}
