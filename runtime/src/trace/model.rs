//! The trace as one JSON document, for viewers of ours.
//!
//! ```text
//! { "format": "threeply-trace", "version": 1,
//!   "program": …, "pid": …, "began_unix_ms": …, "length_ns": …, "lost": …,
//!   "lanes":    [{ "id", "run", "pid", "process", "tid", "kind", "name", "events", "lost" }],
//!   "kinds":    [{ "id", "name", "group", "shape", "file", "function", "what" }],
//!   "subjects": [{ "id", "type", "number", "name", "site" }],
//!   "events":   { "columns": [lane, start, end, kind, subject, inside, line, text],
//!                 "rows": [[…], …] },
//!   "arrows":   { "columns": [from, to, kind], "rows": [[…], …] } }
//! ```
//! Times are nanoseconds since the recording began. Lanes, kinds, subjects and
//! events are referred to by their place in their list; -1 is none, and the end
//! of what has no length. Only the kinds that occur are listed. The source of an
//! event is the `file` of its kind and its own `line`.
//!
//! Read before: `causality`.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use super::json::{Commas, OrNone, Quoted};
use super::{Event, Kind, LaneKind, Shape, Trace};

/// The version of the document.
pub const VERSION: u32 = 1;

impl LaneKind {
    /// Its name in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LaneKind::Loop => "loop",
            LaneKind::Thread => "thread",
            LaneKind::Process => "process",
        }
    }
}

/// The name of this program, as its documents give it.
pub(super) fn program() -> String {
    let first = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&first).file_name();
    name.map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "program".to_owned())
}

impl Trace {
    /// Writes the document that the [module](self) describes.
    ///
    /// # Errors
    /// Those of `out`.
    ///
    /// ```
    /// # use threeply_runtime::trace;
    /// # let Ok(session) = trace::start() else { return Ok(()) };
    /// let mut document = Vec::new();
    /// session.stop().write_model(&mut document)?;
    /// assert!(document.starts_with(br#"{"format":"threeply-trace","version":1"#));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_model(&self, out: impl Write) -> io::Result<()> {
        let mut out = io::BufWriter::new(out);
        let since = self.began().duration_since(UNIX_EPOCH).unwrap_or_default();
        write!(
            out,
            "{{\"format\":\"threeply-trace\",\"version\":{VERSION},\"program\":{},\"pid\":{},\
             \"began_unix_ms\":{},\"length_ns\":{},\"lost\":{},\n\"lanes\":[",
            Quoted(&program()),
            std::process::id(),
            since.as_millis(),
            self.length_ns(),
            self.lost(),
        )?;
        let mut commas = Commas::default();
        for (id, lane) in self.lanes().iter().enumerate() {
            let process = match lane.kind {
                LaneKind::Process => "worker".to_owned(),
                LaneKind::Loop | LaneKind::Thread => program(),
            };
            write!(
                out,
                "{}{{\"id\":{id},\"run\":{},\"pid\":{},\"process\":{},\"tid\":{},\"kind\":\"{}\",\
                 \"name\":{},\"events\":{},\"lost\":{}}}",
                commas.next(),
                Quoted(&lane.run),
                lane.pid,
                Quoted(&process),
                lane.tid,
                lane.kind.name(),
                Quoted(&lane.name),
                lane.events,
                lane.lost,
            )?;
        }
        let kinds = self.write_kinds(&mut out)?;
        self.write_subjects(&mut out)?;
        self.write_rows(&mut out, &kinds)?;
        out.flush()
    }

    /// As [`write_model`](Self::write_model), into a string.
    #[must_use]
    pub fn to_model(&self) -> String {
        let mut document = Vec::new();
        self.write_model(&mut document)
            .expect("memory takes it all");
        String::from_utf8(document).expect("made of strings")
    }

    /// Returns each kind's place in the list.
    fn write_kinds(&self, out: &mut impl Write) -> io::Result<HashMap<Kind, usize>> {
        let mut places = HashMap::new();
        let mut commas = Commas::default();
        write!(out, "],\n\"kinds\":[")?;
        for event in self.events() {
            let id = places.len();
            if *places.entry(event.kind).or_insert(id) != id {
                continue;
            }
            let about = event.kind.about();
            let shape = match about.shape {
                Shape::Span(_) => "span",
                Shape::Instant | Shape::End => "instant",
            };
            write!(
                out,
                "{}{{\"id\":{id},\"name\":\"{}\",\"group\":\"{}\",\"shape\":\"{shape}\",\
                 \"file\":\"{}\",\"function\":\"{}\",\"what\":{}}}",
                commas.next(),
                about.name,
                about.group.name(),
                about.file,
                about.function,
                Quoted(about.what),
            )?;
        }
        Ok(places)
    }

    fn write_subjects(&self, out: &mut impl Write) -> io::Result<()> {
        let mut commas = Commas::default();
        write!(out, "],\n\"subjects\":[")?;
        for (id, subject) in self.subjects().iter().enumerate() {
            write!(
                out,
                "{}{{\"id\":{id},\"type\":\"{}\",\"number\":{},\"name\":{},\"site\":{}}}",
                commas.next(),
                subject.what.name(),
                subject.number,
                Quoted(&subject.to_string()),
                Quoted(subject.site.as_deref().unwrap_or_default()),
            )?;
        }
        Ok(())
    }

    fn write_rows(&self, out: &mut impl Write, kinds: &HashMap<Kind, usize>) -> io::Result<()> {
        write!(
            out,
            "],\n\"events\":{{\"columns\":[\"lane\",\"start\",\"end\",\"kind\",\"subject\",\
             \"inside\",\"line\",\"text\"],\"rows\":["
        )?;
        let mut commas = Commas::default();
        for event in self.events() {
            write!(
                out,
                "{}[{},{},{},{},{},{},{},{}]",
                commas.next(),
                event.lane,
                event.start_ns,
                OrNone(event.end_ns.map(|end| end as usize)),
                kinds[&event.kind],
                OrNone(event.subject),
                OrNone(event.inside),
                event.line,
                Quoted(&self.text(event)),
            )?;
        }
        write!(
            out,
            "]}},\n\"arrows\":{{\"columns\":[\"from\",\"to\",\"kind\"],\"rows\":["
        )?;
        let mut commas = Commas::default();
        for arrow in self.arrows() {
            let name = arrow.kind.name();
            write!(
                out,
                "{}[{},{},\"{name}\"]",
                commas.next(),
                arrow.from,
                arrow.to
            )?;
        }
        writeln!(out, "]}}}}")
    }
}

/// What is particular about `event`, in words.
pub(super) fn text(trace: &Trace, event: &Event) -> String {
    let Event { a, b, result, .. } = *event;
    let lanes = || (a, b >> 32, b & u64::from(u32::MAX));
    let mut text = match event.kind {
        Kind::Poll if result == 1 => "it ends".to_owned(),
        Kind::Poll => "it has to wait, or makes way".to_owned(),
        Kind::Wake | Kind::WakeElsewhere | Kind::Collected => {
            let by = event.inside.map(|inside| &trace.events[inside]);
            let by = by.and_then(|by| by.subject);
            let mut text = by.map_or(String::new(), |by| format!("by {}", trace.subjects[by]));
            if b == 1 {
                let gap = if text.is_empty() { "" } else { ", " };
                text += gap;
                text += "in vain: the task was queued already, or is gone";
            }
            text
        }
        Kind::Park => {
            let mut text = match b {
                u64::MAX => "without a deadline".to_owned(),
                b => format!("until {:?} on the loop's clock at the latest", ns(b)),
            };
            if result != 0
                && let Some(by) = trace.events.get(result as usize)
            {
                text += ", ended by: ";
                text += by.kind.about().name;
                if let Some(subject) = by.subject {
                    text += &format!(", {}", trace.subjects[subject]);
                }
            }
            text
        }
        Kind::TimerSet => format!("due at {:?} on the loop's clock", ns(b)),
        Kind::TimerCancelled => format!("it was due at {:?} on the loop's clock", ns(b)),
        Kind::WatchSend | Kind::WatchSeen => format!("version {b}"),
        Kind::BroadcastSend | Kind::BroadcastReceive => format!("value number {b}"),
        Kind::TimerFired => format!("at {:?} on the loop's clock", ns(b)),
        Kind::Ready => if b == 0 { "to read" } else { "to write" }.to_owned(),
        Kind::TurnGrant if b == 1 => "everybody is let go".to_owned(),
        Kind::JobSteal | Kind::ForkSteal => {
            let (_, thief, victim) = lanes();
            format!("by lane {thief} of the pool, from lane {victim}")
        }
        Kind::JobPush
        | Kind::JobPost
        | Kind::JobTake
        | Kind::JobRun
        | Kind::ForkRun
        | Kind::LatchWait => {
            format!("lane {b} of the pool")
        }
        Kind::LatchSet => format!("for lane {b} of the pool"),
        Kind::FrameOut | Kind::FrameIn => {
            let (worker, count) = (a & u64::from(u32::MAX), a >> 32);
            match count {
                1 => format!("job number {b} for process {worker}"),
                _ => format!("{count} jobs for process {worker}, from number {b} on"),
            }
        }
        Kind::ProcessExit if b >> 32 != 0 => format!("killed by signal {}", b as u32),
        Kind::ProcessExit => format!("exit code {b}"),
        Kind::WorkerDeath => format!("{b} jobs go back to the queue, unrun"),
        _ => String::new(),
    };
    if event.is_unfinished() {
        if !matches!(event.kind, Kind::Poll | Kind::Park) && !text.is_empty() {
            text += " ";
        } else {
            text.clear();
        }
        text += "(unfinished)";
    }
    text
}

fn ns(ns: u64) -> Duration {
    Duration::from_nanos(ns)
}
