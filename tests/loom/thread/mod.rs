//! The thread pool's protocols: sleep and permits, forks, jobs, scopes, watchdog.

mod forks;
mod jobs;
mod scope;
mod sleep;
mod watchdog;
