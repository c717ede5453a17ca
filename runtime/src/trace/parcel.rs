//! A trace as bytes, to hand it to another process of the same build.
//!
//! ```text
//!   parcel = mark · numbers and texts
//!   number = 7 bits a byte, the low ones first, the last byte without its high bit
//!   text   = its length in bytes · UTF-8
//!   list   = its length · its items
//! ```
//! For transport, not for keeping: kinds of events are numbers that another version may
//! give to others, so a parcel begins with the version that packed it. What has been
//! read is checked as if an enemy had packed it: every index exists, or there is no
//! trace.
//!
//! Read before: `causality.rs`. Next: `merge.rs`.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use super::{Arrow, ArrowKind, Event, Kind, Lane, LaneKind, Subject, Trace, What};

/// What a parcel begins with.
const MARK: &str = concat!("threeply trace ", env!("CARGO_PKG_VERSION"), "\n");

const LANE_KINDS: [LaneKind; 3] = [LaneKind::Loop, LaneKind::Thread, LaneKind::Process];

const ARROW_KINDS: [ArrowKind; 11] = [
    ArrowKind::Spawn,
    ArrowKind::Wake,
    ArrowKind::Cause,
    ArrowKind::Push,
    ArrowKind::Steal,
    ArrowKind::Latch,
    ArrowKind::Unpark,
    ArrowKind::Value,
    ArrowKind::Frame,
    ArrowKind::Reply,
    ArrowKind::Process,
];

const WHATS: [What; 9] = [
    What::Task,
    What::Job,
    What::Fork,
    What::ProcessJob,
    What::Process,
    What::Descriptor,
    What::Line,
    What::Channel,
    What::Span,
];

/// Why bytes are no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParcelError {
    /// They don't begin as this version's parcels do.
    NotOurs,
    /// Something is missing at the end, or isn't as it must be.
    Torn,
}

impl fmt::Display for ParcelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParcelError::NotOurs => f.write_str(
                "these bytes are no trace of this version: both programs have to be built from \
                 the same source",
            ),
            ParcelError::Torn => f.write_str(
                "the trace is torn: hand on all bytes of `Trace::to_parcel`, and nothing else",
            ),
        }
    }
}

impl std::error::Error for ParcelError {}

impl Trace {
    /// All of it as bytes, some 20 for each event.
    #[must_use]
    pub fn to_parcel(&self) -> Vec<u8> {
        let mut out = Packer(MARK.as_bytes().to_vec());
        let since = self.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        out.number(since.as_nanos() as u64);
        out.number(self.at_ns);
        out.number(self.length_ns);
        out.number(self.lost);
        out.number(self.names_lost);
        out.list(&self.lanes, Packer::lane);
        out.list(&self.subjects, Packer::subject);
        let mut before_ns = 0;
        out.list(&self.events, |out, event| {
            out.event(event, before_ns);
            before_ns = event.start_ns;
        });
        out.list(&self.arrows, |out, arrow| {
            out.number(arrow.from as u64);
            out.number(arrow.to as u64);
            out.one_of(&ARROW_KINDS, &arrow.kind);
        });
        out.0
    }

    /// The trace that [`to_parcel`](Trace::to_parcel) made these bytes of.
    ///
    /// # Errors
    /// [`ParcelError`] says what to do. Any bytes may be given.
    pub fn from_parcel(bytes: &[u8]) -> Result<Trace, ParcelError> {
        let rest = bytes.strip_prefix(MARK.as_bytes());
        let mut parcel = Unpacker(rest.ok_or(ParcelError::NotOurs)?);
        let trace = parcel.trace().filter(|_| parcel.0.is_empty());
        trace.ok_or(ParcelError::Torn)
    }
}

struct Packer(Vec<u8>);

impl Packer {
    fn lane(&mut self, lane: &Lane) {
        self.number(lane.pid.into());
        self.number(lane.tid.into());
        self.text(&lane.name);
        self.one_of(&LANE_KINDS, &lane.kind);
        self.text(&lane.run);
        self.number(lane.events as u64);
        self.number(lane.lost);
    }

    fn subject(&mut self, subject: &Subject) {
        self.number(subject.pid.into());
        self.one_of(&WHATS, &subject.what);
        self.number(subject.number);
        self.maybe_text(subject.name.as_deref());
        self.maybe_text(subject.site.as_deref());
    }

    /// One that begins no earlier than the one before it.
    fn event(&mut self, event: &Event, before_ns: u64) {
        self.number(event.start_ns - before_ns);
        self.maybe(event.end_ns.map(|end| (end - event.start_ns) as usize));
        self.number(event.kind as u64);
        self.number(event.lane as u64);
        self.number(event.line.into());
        self.number(event.end_line.into());
        self.maybe(event.subject);
        self.maybe(event.inside);
        self.number(event.a);
        self.number(event.b);
        self.number(event.result);
    }

    fn list<T>(&mut self, items: &[T], mut pack: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| pack(self, item));
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// `None` is 0, everything else one more than it is.
    fn maybe(&mut self, number: Option<usize>) {
        self.number(number.map_or(0, |number| number as u64 + 1));
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn maybe_text(&mut self, text: Option<&str>) {
        self.number(text.is_some().into());
        text.into_iter().for_each(|text| self.text(text));
    }

    fn one_of<T: PartialEq>(&mut self, all: &[T], one: &T) {
        let place = all.iter().position(|it| it == one);
        self.number(place.expect("the list has all") as u64);
    }
}

/// What hasn't been read yet.
struct Unpacker<'b>(&'b [u8]);

impl Unpacker<'_> {
    fn trace(&mut self) -> Option<Trace> {
        let wall = UNIX_EPOCH.checked_add(Duration::from_nanos(self.number()?))?;
        let at_ns = self.number()?;
        let length_ns = self.number()?;
        at_ns.checked_add(length_ns)?;
        let (lost, names_lost) = (self.number()?, self.number()?);
        let lanes = self.list(Self::lane)?;
        let subjects = self.list(Self::subject)?;
        let mut before_ns = 0;
        let events = self.list(|parcel| {
            let event = parcel.event(before_ns)?;
            before_ns = event.start_ns;
            let is_in_time = event.end_ns.unwrap_or(event.start_ns) <= length_ns;
            let has_its_place = event.lane < lanes.len() && is_in_time;
            let has_subject = event.subject.is_none_or(|at| at < subjects.len());
            (has_its_place && has_subject).then_some(event)
        })?;
        let exists = |at: usize| at < events.len();
        let named = events.iter().flat_map(|it| [it.inside, it.ended_by()]);
        if !named.flatten().all(exists) {
            return None;
        }
        let arrows = self.list(|parcel| {
            let arrow = Arrow {
                from: parcel.index()?,
                to: parcel.index()?,
                kind: parcel.one_of(&ARROW_KINDS)?,
            };
            (exists(arrow.from) && exists(arrow.to)).then_some(arrow)
        })?;
        Some(Trace {
            wall,
            at_ns,
            length_ns,
            lanes,
            events,
            arrows,
            subjects,
            lost,
            names_lost,
        })
    }

    fn lane(&mut self) -> Option<Lane> {
        Some(Lane {
            pid: self.number()?.try_into().ok()?,
            tid: self.number()?.try_into().ok()?,
            name: self.text()?,
            kind: self.one_of(&LANE_KINDS)?,
            run: self.text()?,
            events: self.index()?,
            lost: self.number()?,
        })
    }

    fn subject(&mut self) -> Option<Subject> {
        Some(Subject {
            pid: self.number()?.try_into().ok()?,
            what: self.one_of(&WHATS)?,
            number: self.number()?,
            name: self.maybe_text()?,
            site: self.maybe_text()?,
        })
    }

    fn event(&mut self, before_ns: u64) -> Option<Event> {
        let start_ns = before_ns.checked_add(self.number()?)?;
        let end_ns = match self.maybe()? {
            Some(length) => Some(start_ns.checked_add(length as u64)?),
            None => None,
        };
        Some(Event {
            start_ns,
            end_ns,
            kind: Kind::from_number(self.number()?.try_into().ok()?)?,
            lane: self.index()?,
            line: self.number()?.try_into().ok()?,
            end_line: self.number()?.try_into().ok()?,
            subject: self.maybe()?,
            inside: self.maybe()?,
            a: self.number()?,
            b: self.number()?,
            result: self.number()?,
        })
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            number |= bits << shift;
            if byte & 0x80 == 0 {
                let fits = number >> shift == bits;
                return fits.then_some(number);
            }
        }
        None
    }

    fn index(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    /// An index, or a length, or none.
    #[expect(clippy::option_option, reason = "torn, or none packed")]
    fn maybe(&mut self) -> Option<Option<usize>> {
        Some(self.index()?.checked_sub(1))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.index()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    }

    #[expect(clippy::option_option, reason = "torn, or none packed")]
    fn maybe_text(&mut self) -> Option<Option<String>> {
        match self.number()? {
            0 => Some(None),
            1 => Some(Some(self.text()?)),
            _ => None,
        }
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(self.index()?).copied()
    }

    /// As many as it says. No room is made for them beforehand: a number is soon said.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.index()?;
        (0..length).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(number: u64) -> Option<u64> {
        let mut packer = Packer(Vec::new());
        packer.number(number);
        let mut unpacker = Unpacker(&packer.0);
        let read = unpacker.number();
        assert!(unpacker.0.is_empty());
        read
    }

    #[test]
    fn numbers_of_every_length_come_back() {
        for shift in 0..u64::BITS {
            for number in [1 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                assert_eq!(there_and_back(number), Some(number));
            }
        }
    }

    #[test]
    fn a_number_that_is_too_large_or_has_no_end_is_none() {
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Unpacker(&too_large).number(), None);
        assert_eq!(Unpacker(&[0x80; 20]).number(), None);
        assert_eq!(Unpacker(&[0x80]).number(), None);
    }

    #[test]
    fn a_list_longer_than_what_is_there_costs_nothing() {
        let mut packer = Packer(Vec::new());
        packer.number(u64::MAX);
        assert!(Unpacker(&packer.0).list(Unpacker::index).is_none());
    }
}
