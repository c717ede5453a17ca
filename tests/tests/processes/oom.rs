//! A worker that the kernel kills for want of memory, in a control group that is made
//! for the test. Skipped, aloud, where no such group can be made.

use crate::{end, new_pool, watchdog};
use std::fs;
use std::path::PathBuf;
use threeply_pools::process::{Cause, JobError};

/// A group with little memory; removed on drop.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Group> {
        let name = format!("threeply-test-{}", std::process::id());
        let second = PathBuf::from("/sys/fs/cgroup").join(&name);
        let first = PathBuf::from("/sys/fs/cgroup/memory").join(&name);
        let limits = [(first, "memory.limit_in_bytes"), (second, "memory.max")];
        limits.into_iter().find_map(|(path, limit)| {
            fs::create_dir(&path).ok()?;
            let group = Group(path);
            fs::write(group.0.join(limit), "96M").ok()?;
            // Swap would only make it slow.
            let _ = fs::write(group.0.join("memory.swap.max"), "0");
            let _ = fs::write(group.0.join("memory.memsw.limit_in_bytes"), "96M");
            Some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_kill_for_want_of_memory_is_told_as_such() {
    let _dog = watchdog();
    let Some(group) = Group::new() else {
        eprintln!("skipped: no control group can be made here");
        return;
    };
    let pool = new_pool(1);
    // A process of its own goes into the group, and its workers with it.
    let inner = |group: String| {
        fs::write(
            format!("{group}/cgroup.procs"),
            std::process::id().to_string(),
        )
        .unwrap();
        let pool = new_pool(1);
        let hungry = |bytes: usize| std::hint::black_box(vec![1u8; bytes]).len();
        let error = pool.submit(hungry, 512 << 20).unwrap().wait().unwrap_err();
        let next = pool.submit(hungry, 1 << 20).unwrap().wait();
        assert_eq!(next.unwrap(), 1 << 20);
        end(pool);
        match error {
            JobError::Died(death) => death.cause == Cause::OutOfMemory,
            other => panic!("{other}"),
        }
    };
    let path = group.0.to_str().unwrap().to_owned();
    assert!(pool.submit(inner, path).unwrap().wait().unwrap());
    end(pool);
}
