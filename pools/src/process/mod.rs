//! The process pool: functions of this program, run in other processes, where a
//! death costs exactly one job.
//!
//! Begin with the README beside this file (the picture of what lives in which
//! process, the life of a job, rejected designs). Then follow a job:
//!
//! | step | file |
//! |---|---|
//! | submit | [`builder`], [`pool`], [`options`] with [`terms`], [`encode`] with [`sink`], [`codec`] and [`arena`], [`text`] with [`trampoline`] |
//! | or many at once | [`map`] |
//! | queue or send | [`admission`], [`shared`], [`state`], [`job`], [`link`] |
//! | cross | [`frame`] with [`wire`], [`ring`], [`bell`], all in [`page`]; descriptors by [`passing`], [`slices`] |
//! | run | [`worker`], [`claim`]; and sleep, [`stay`] |
//! | reply | [`reader`], [`pump`] with [`role`], [`reply`], [`cell`], [`handle`] with [`spin`](crate::spin) |
//! | be seen | [`traced`] |
//! | or die | [`death`], [`start`] with [`request`] and [`fork_server`], [`supervisor`] with [`look`], [`oom`], [`kin`] with [`control_group`], [`cpu`] |
//! | and what it writes | [`output`] |
//! | look | [`statistics`], [`dump`], [`census`], [`stall`] |

pub mod admission;
pub mod arena;
pub mod bell;
pub mod builder;
pub mod callbacks;
pub mod cell;
pub mod census;
pub mod claim;
pub mod codec;
pub mod control_group;
pub mod cpu;
pub mod death;
pub mod dump;
pub mod encode;
pub mod error;
pub mod fork_server;
pub mod frame;
pub mod handle;
pub mod job;
pub mod kin;
pub mod limits;
pub mod link;
pub mod look;
pub mod map;
pub mod oom;
pub mod options;
pub mod output;
pub mod page;
pub mod passing;
pub mod pool;
pub mod pump;
pub mod reader;
pub mod reply;
pub mod request;
pub mod ring;
pub mod role;
pub mod shared;
pub mod silence;
pub mod sink;
pub mod slices;
pub mod stall;
pub mod start;
pub mod state;
pub mod statistics;
pub mod stay;
pub mod supervisor;
pub mod terms;
pub mod text;
pub mod traced;
pub mod trampoline;
pub mod wire;
pub mod worker;

pub use builder::Builder;
pub use census::dump_all;
pub use dump::{Dump, JobDump, JobPlace, WorkerDump, WorkerState};
pub use error::{Cause, Death, Error, JobError};
pub use handle::JobHandle;
pub use map::{AsCompleted, Map, MapUnordered, as_completed};
pub use options::JobOptions;
pub use output::{Line, Output, Stream};
pub use pool::{ProcessPool, ShutdownReport};
pub use slices::{Shared, SharedMut};
pub use stall::Stall;
pub use start::StartMethod;
pub use statistics::{Statistics, WorkerStage, WorkerStatistics};
pub use terms::{JobLabel, Retry};
pub use worker::hook::worker_main;
pub use worker::panics::PanicReport;
