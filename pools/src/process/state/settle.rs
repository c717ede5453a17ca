//! What a worker has sent: outcomes, its greeting, how long its jobs took.

use crate::process::cell::Outcome;
use crate::process::codec::Bytes;
use crate::process::error::JobError;
use crate::process::frame::Header;
use crate::process::link::Link;
use crate::process::passing::Lost;
use crate::process::reader::{Frame, Garbage};
use crate::process::reply::{Body, LargeReply, Reply};
use crate::process::state::worker::Stage;
use crate::process::state::{Delivery, State};
use crate::process::text::Text;
use crate::process::wire;
use crate::process::worker::panics::PanicReport;
use crate::switch::Ordering;
use std::sync::Arc;
use std::time::Instant;
use threeply_runtime::trace::{Kind, emit};

impl State {
    /// Notes what a worker has sent, and gathers the outcomes.
    ///
    /// # Errors
    /// [`Garbage`] if no worker of ours could have sent it.
    pub fn settle(
        &mut self,
        link: &Arc<Link>,
        frames: &mut Vec<Frame>,
        out: &mut Vec<Delivery>,
    ) -> Result<(), Garbage> {
        let now = Instant::now();
        for (header, body) in frames.drain(..) {
            if header.kind == wire::HELLO {
                self.greet(link, &body)?;
                continue;
            }
            let worker = self.worker(link).ok_or(Garbage)?;
            let sent = worker.sent.front_mut().ok_or(Garbage)?;
            if header.seq != sent.next() {
                return Err(Garbage);
            }
            let outcome = read_outcome(link, &header, body)?;
            let index = sent.job.index + usize::from(sent.settled);
            sent.settled += 1;
            let target = if sent.next() == sent.end() {
                worker
                    .sent
                    .pop_front()
                    .expect("looked at just now")
                    .job
                    .target
            } else {
                Arc::clone(&sent.job.target)
            };
            target.decided();
            emit(Kind::ReplyIn, line!(), u64::from(link.pid), header.seq);
            worker.open -= 1;
            worker.done += 1;
            worker.front_begins(now);
            if worker
                .verdict
                .is_some_and(|verdict| verdict.seq == header.seq)
            {
                worker.verdict = None; // It was done before it could be killed.
            }
            if !target.is_internal() {
                self.count(&outcome);
                self.start_failures = 0; // Workers come up, and get to work.
                self.failing_since = None;
            }
            out.push(Delivery {
                target,
                index,
                outcome,
            });
        }
        self.measure(link);
        let jobs_per_worker = self.jobs_per_worker;
        let Some(worker) = self.worker(link) else {
            return Ok(());
        };
        if worker.open == 0 {
            worker.rests_since = now;
            let goes = worker.retiring || worker.is_worn(jobs_per_worker);
            if goes && worker.stage == Stage::Ready {
                worker.dismiss(now);
            } else if !worker.is_going() {
                worker.idle_since = Some(now);
                if !self.idle.contains(&link.slot) {
                    self.idle.push(link.slot);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, outcome: &Outcome) {
        self.outstanding -= 1;
        match outcome {
            Ok(_) => self.tally.completed += 1,
            Err(_) => self.tally.failed += 1,
        }
    }

    /// Reads what the worker says about the length of its jobs.
    fn measure(&mut self, link: &Arc<Link>) {
        let Some(worker) = self.worker(link) else {
            return;
        };
        let words = link.words();
        let ns = words.busy_ns.load(Ordering::Relaxed);
        let jobs = words.busy_jobs.load(Ordering::Relaxed);
        let (ns_before, jobs_before) = std::mem::replace(&mut worker.busy_seen, (ns, jobs));
        let jobs = jobs.saturating_sub(jobs_before);
        if let Some(average) = ns.saturating_sub(ns_before).checked_div(jobs) {
            // Weighs as much as eight earlier looks at most.
            let weight = jobs.min(8);
            self.job_ns = Some(match self.job_ns {
                None => average,
                Some(before) => (before / 8) * (8 - weight) + (average / 8) * weight,
            });
        }
    }

    fn greet(&mut self, link: &Arc<Link>, body: &[u8]) -> Result<(), Garbage> {
        let expected = [
            u64::from(wire::VERSION),
            link.nonce,
            Text::of_this_program().fingerprint(),
        ];
        let said: [u64; 3] = wire::read_numbers(body).ok_or(Garbage)?;
        let worker = self.worker(link).ok_or(Garbage)?;
        if said != expected {
            worker.complaint = Some(format!(
                "a worker is not of this executable (it says {said:x?}, expected {expected:x?})"
            ));
            return Err(Garbage);
        }
        if let Stage::Starting { .. } = worker.stage {
            worker.stage = Stage::Ready;
            self.changes_of_staff += 1;
            // What its start took isn't its job's fault.
            self.front_begins(link.slot, Instant::now());
            emit(Kind::WorkerReady, line!(), u64::from(link.pid), 0);
        }
        Ok(())
    }

    /// From which reply on the reader of a worker wants to be woken; `None` if it
    /// has nothing to say.
    pub fn wake_from(&mut self, link: &Arc<Link>) -> Option<u64> {
        let brief = self.job_ns.is_some_and(|ns| ns < 20_000);
        let worker = self.worker(link)?;
        worker.silence.end();
        if let Stage::Starting { .. } = worker.stage {
            return Some(0);
        }
        let next = worker.sent.front()?.next();
        // Replies of brief jobs wait for company; a tick looks after them.
        let company = if brief { worker.open as u64 / 2 } else { 0 };
        Some(next + company)
    }
}

fn read_outcome(link: &Arc<Link>, header: &Header, body: Bytes) -> Result<Outcome, Garbage> {
    let failed = |error: JobError| Err(Box::new(error));
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    let value = |body| {
        if header.flags & wire::DESCRIPTORS == 0 {
            let fds = Vec::new();
            return Ok(Ok(Reply { body, fds }));
        }
        match link.receive(header.seq) {
            Ok(fds) => Ok(Ok(Reply { body, fds })),
            Err(Lost::Never) => Err(Garbage),
            Err(Lost::Refused(error)) => Ok(failed(JobError::Undecodable {
                reason: error.to_string(),
            })),
        }
    };
    Ok(match header.kind {
        wire::VALUE => value(Body::Inline(body))?,
        wire::VALUE_LARGE => {
            let place = wire::read_numbers(&body).ok_or(Garbage)?;
            value(Body::Large(LargeReply::new(link, place).ok_or(Garbage)?))?
        }
        wire::PANIC => {
            let report: PanicReport = postcard::from_bytes(&body).map_err(|_| Garbage)?;
            failed(JobError::Panicked(report))
        }
        wire::BAD_ARGUMENT => failed(JobError::Argument {
            reason: text(&body),
        }),
        wire::BAD_RESULT => failed(JobError::Result {
            reason: text(&body),
        }),
        wire::TOO_LARGE => {
            let [len, max] = wire::read_numbers(&body).ok_or(Garbage)?;
            let (len, max) = (len as usize, max as usize);
            failed(JobError::TooLarge { len, max })
        }
        _ => return Err(Garbage),
    })
}
