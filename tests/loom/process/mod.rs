//! The process pool's protocols, between threads and between processes: what
//! matters to loom is that two parties share words of memory.

mod bell;
mod cell;
mod claim;
mod due;
mod end;
mod ring;
mod role;
mod room;
mod shutdown;
mod silence;
