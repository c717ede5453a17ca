//! The thread pool's protocols: sleep and permits, forks, jobs, scopes.

mod forks;
mod jobs;
mod scope;
mod sleep;
