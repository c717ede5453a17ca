//! When to try again, and how long to wait before.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, header};

use crate::http::error::{Error, Phase};

/// How often and how patiently a request is tried again.
///
/// Only requests that do no harm when done twice are ([`is_repeatable`]), and
/// only for reasons that may pass.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Tries after the first.
    pub times: u32,
    /// The wait before the second try; doubled for each further one.
    pub backoff: Duration,
    /// The longest wait, also when the server asks for more.
    pub longest: Duration,
}

impl Default for Retry {
    /// Never.
    fn default() -> Self {
        Retry {
            times: 0,
            backoff: Duration::from_millis(100),
            longest: Duration::from_secs(10),
        }
    }
}

impl Retry {
    /// `times` further tries, 100 ms, 200 ms, 400 ms, … apart.
    pub fn times(times: u32) -> Retry {
        Retry {
            times,
            ..Retry::default()
        }
    }

    /// How long to wait before try number `next` (the second is 1), if at all:
    /// what the server asked for, else exponential backoff of which up to half
    /// is random, so that clients that failed together don't return together.
    pub fn wait(&self, next: u32, asked: Option<Duration>) -> Duration {
        if let Some(asked) = asked {
            return asked.min(self.longest);
        }
        let full = self
            .backoff
            .saturating_mul(1u32.checked_shl(next.saturating_sub(1)).unwrap_or(u32::MAX));
        let full = full.min(self.longest);
        let random = RandomState::new().hash_one(next) as f64 / u64::MAX as f64;
        full.mul_f64(1.0 - random / 2.0)
    }
}

/// Whether doing it twice is the same as doing it once.
pub fn is_repeatable(method: &Method) -> bool {
    method.is_idempotent()
}

/// Whether a failure may have passed by the next try.
pub fn may_pass(error: &Error) -> bool {
    match error {
        Error::Refused { .. } | Error::Lost { .. } | Error::Connect { .. } => true,
        Error::Timeout { phase, .. } => *phase != Phase::Total,
        _ => false,
    }
}

/// Whether a status asks to come back later.
pub fn is_for_later(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// What `Retry-After` asks for: seconds, or a date.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_never_less_than_half() {
        let retry = Retry {
            times: 9,
            backoff: Duration::from_millis(100),
            longest: Duration::from_secs(1),
        };
        for (next, full) in [
            (1, 100),
            (2, 200),
            (3, 400),
            (4, 800),
            (5, 1_000),
            (60, 1_000),
        ] {
            let full = Duration::from_millis(full);
            let wait = retry.wait(next, None);
            assert!(wait <= full && wait >= full / 2, "{next}: {wait:?}");
        }
        assert_eq!(
            retry.wait(1, Some(Duration::from_millis(7))),
            Duration::from_millis(7)
        );
        assert_eq!(
            retry.wait(1, Some(Duration::from_secs(3600))),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let after = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            after("Sun, 06 Nov 1994 08:49:47 GMT"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }
}
