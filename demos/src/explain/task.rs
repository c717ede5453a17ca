//! The life of a task: spawn → poll → park → wake → complete → join.
//!
//! The program waits twice, so that both sorts of wakes are seen: one by the loop
//! itself, which finds that a timer's time has come, and one from another thread.
//!
//! Next: [`super::job`].

use std::thread;

use threeply_runtime::task::Builder;
use threeply_runtime::time::sleep;
use threeply_runtime::trace::{self, Kind, What};
use threeply_runtime::{block_on, unblock};

use super::{Life, Run, record};
use crate::{Error, limits};

/// See the [module](self).
pub const LIFE: Life = Life {
    title: "A task: spawn, poll, park, wake, complete, join",
    program: "`main` spawns the task 'child' and awaits it. The child sleeps for a \
              moment, then lets another thread make a blocking call, and returns what \
              that gave.",
    source: file!(),
    about: &[What::Task, What::Span],
    needs: &[
        Kind::Spawn,
        Kind::Poll,
        Kind::TimerSet,
        Kind::TimerFired,
        Kind::Wake,
        Kind::Park,
        Kind::BlockingPush,
        Kind::BlockingRun,
        Kind::WakeElsewhere,
        Kind::Collected,
    ],
    run,
};

fn run() -> Result<Run, Error> {
    let session = record()?;
    let answer = block_on(async {
        let task = Builder::new().name("child").spawn(child());
        let answer = task.await??;
        drop(trace::span(
            "join: main takes what the child returned; the child's cell: Finished → Empty",
        ));
        Ok::<u64, Error>(answer)
    })?;
    Ok(Run {
        trace: session.stop(),
        outcome: format!("main got {answer} from its child."),
    })
}

async fn child() -> Result<u64, Error> {
    sleep(limits::EXPLAIN_MOMENT).await;
    let call = unblock(|| {
        // Long enough that the loop sleeps meanwhile.
        thread::sleep(limits::EXPLAIN_MOMENT);
        42
    });
    call.await
        .map_err(|error| Error::Failed(format!("the blocking call failed: {error}")))
}
