//! The thread pool's protocols: sleep and permits, forks, jobs, piles of jobs, scopes, watchdog.

mod forks;
mod jobs;
mod pile;
mod scope;
mod sleep;
mod watchdog;
