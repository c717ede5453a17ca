//! The thread pool's protocols: sleep and permits, forks, jobs.

mod forks;
mod jobs;
mod sleep;
