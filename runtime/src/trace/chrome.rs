//! The trace in the JSON format of Chrome's trace viewer, which Perfetto and
//! others open.
//!
//! Spans become complete events (`X`), instants `i`, arrows flows (`s` to `f`).
//! Viewers tie the end of a flow to the slice that is there at its time, so an
//! instant with an arrow becomes a slice without length.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};

use super::json::{Commas, Quoted};
use super::model::program;
use super::{Arrow, Event, LaneKind, Trace, What};

/// Nanoseconds as the microseconds of the format.
struct Us(u64);

impl fmt::Display for Us {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

impl Trace {
    /// Writes the trace in Chrome's trace event format, for `ui.perfetto.dev`,
    /// `chrome://tracing` and the like: with flows from causes to effects, and the
    /// source of each event among its arguments.
    ///
    /// # Errors
    /// Those of `out`.
    ///
    /// ```
    /// # use threeply_runtime::trace;
    /// # let Ok(session) = trace::start() else { return Ok(()) };
    /// let mut document = Vec::new();
    /// session.stop().write_chrome(&mut document)?;
    /// assert!(document.starts_with(br#"{"displayTimeUnit":"ns","traceEvents":["#));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_chrome(&self, out: impl Write) -> io::Result<()> {
        let mut out = io::BufWriter::new(out);
        let mut commas = Commas::default();
        write!(out, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        let mut named = HashSet::new();
        for (index, lane) in self.lanes().iter().enumerate() {
            let (pid, tid) = (lane.pid, lane.tid);
            if named.insert(pid) {
                let of = match lane.run.as_str() {
                    "" => program(),
                    run => run.to_owned(),
                };
                let process = match lane.kind {
                    LaneKind::Process => format!("{of} worker"),
                    LaneKind::Loop | LaneKind::Thread => of,
                };
                let name = Quoted(&process);
                write!(
                    out,
                    "{}{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{pid},\"tid\":{tid},\
                     \"args\":{{\"name\":{name}}}}}",
                    commas.next(),
                )?;
            }
            let name = format!("{} ({})", lane.name, lane.kind.name());
            let name = Quoted(&name);
            write!(
                out,
                "{}{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":{pid},\"tid\":{tid},\
                 \"args\":{{\"name\":{name}}}}}{}{{\"ph\":\"M\",\"name\":\"thread_sort_index\",\
                 \"pid\":{pid},\"tid\":{tid},\"args\":{{\"sort_index\":{index}}}}}",
                commas.next(),
                commas.next(),
            )?;
        }
        let touched: HashSet<usize> = self
            .arrows()
            .iter()
            .flat_map(|arrow| [arrow.from, arrow.to])
            .collect();
        for (index, event) in self.events().iter().enumerate() {
            write!(out, "{}", commas.next())?;
            self.write_event(&mut out, event, touched.contains(&index))?;
        }
        for (id, arrow) in self.arrows().iter().enumerate() {
            self.write_flow(&mut out, &mut commas, id, arrow)?;
        }
        write!(out, "\n],\"otherData\":{{\"lost\":{}}}}}", self.lost())?;
        out.flush()
    }

    fn write_event(&self, out: &mut impl Write, event: &Event, touched: bool) -> io::Result<()> {
        let lane = &self.lanes()[event.lane];
        let about = event.kind.about();
        let subject = event
            .subject
            .map(|subject| self.subjects()[subject].to_string());
        let name = match &subject {
            Some(subject) => format!("{} {subject}", about.name),
            None => about.name.to_owned(),
        };
        let start = event.start_ns;
        let shape = match event.end_ns {
            Some(end) => format!("\"ph\":\"X\",\"dur\":{}", Us(end - start)),
            None if touched => "\"ph\":\"X\",\"dur\":0".to_owned(),
            None => "\"ph\":\"i\",\"s\":\"t\"".to_owned(),
        };
        write!(
            out,
            "{{{shape},\"pid\":{},\"tid\":{},\"ts\":{},\"name\":{},\"cat\":\"{}\",\"args\":{{\
             \"source\":\"{}:{}\",\"function\":\"{}\",\"what\":{}",
            lane.pid,
            lane.tid,
            Us(start),
            Quoted(&name),
            about.group.name(),
            about.file,
            event.line,
            about.function,
            Quoted(about.what),
        )?;
        let subject = event.subject.map(|at| &self.subjects()[at]);
        if let Some((subject, site)) = subject.and_then(|it| Some((it, it.site.as_ref()?))) {
            let word = match subject.what {
                What::Line | What::Channel => "made",
                _ => "spawned",
            };
            write!(out, ",\"{word}\":{}", Quoted(site))?;
        }
        let text = self.text(event);
        if !text.is_empty() {
            write!(out, ",\"text\":{}", Quoted(&text))?;
        }
        write!(out, "}}}}")
    }

    fn write_flow(
        &self,
        out: &mut impl Write,
        commas: &mut Commas,
        id: usize,
        arrow: &Arrow,
    ) -> io::Result<()> {
        let (from, to) = (&self.events()[arrow.from], &self.events()[arrow.to]);
        let effect = match to.end_ns {
            Some(end) if arrow.kind.is_to_the_end() => end,
            _ => to.start_ns,
        };
        for (phase, event, at) in [
            ("\"ph\":\"s\"", from, from.start_ns),
            ("\"ph\":\"f\",\"bp\":\"e\"", to, effect),
        ] {
            let lane = &self.lanes()[event.lane];
            write!(
                out,
                "{}{{{phase},\"id\":{id},\"pid\":{},\"tid\":{},\"ts\":{},\"name\":\"{}\",\
                 \"cat\":\"cause\"}}",
                commas.next(),
                lane.pid,
                lane.tid,
                Us(at),
                arrow.kind.name(),
            )?;
        }
        Ok(())
    }
}
