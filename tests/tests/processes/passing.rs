//! What jobs get and give besides bytes: descriptors, and memory without copying.

use crate::{builder, end, kill, new_pool, until, watchdog};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::OnceLock;
use threeply_pools::ipc::Fd;
use threeply_pools::process::{Error, Shared, SharedMut};

fn pipe() -> (File, Fd) {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    (File::from(read), Fd::from(write))
}

fn read_all(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

fn write_to((fd, text): (Fd, String)) {
    let mut file = File::from(OwnedFd::from(fd));
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn descriptors_go_along_with_arguments_and_come_back_with_results() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let (read, write) = pipe();
    pool.submit(write_to, (write, "there".to_owned()))
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(read_all(read), "there", "and no copy is left open");
    let make = |text: String| {
        let (read, write) = pipe();
        write_to((write, text));
        Fd::from(OwnedFd::from(read))
    };
    let back = pool.submit(make, "and back".to_owned()).unwrap();
    let back = File::from(OwnedFd::from(back.wait().unwrap()));
    assert_eq!(read_all(back), "and back");
    end(pool);
}

#[test]
fn each_element_of_a_map_gets_its_own_descriptors() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let (reads, writes): (Vec<_>, Vec<_>) = (0..100).map(|_| pipe()).unzip();
    // Every third comes without.
    let run = |(number, fd): (u32, Option<Fd>)| {
        if let Some(fd) = fd {
            write_to((fd, number.to_string()));
        }
        number
    };
    let inputs = writes.into_iter().enumerate().map(|(number, fd)| {
        let fd = (number % 3 != 0).then_some(fd);
        (number as u32, fd)
    });
    for (number, result) in pool.map(run, inputs).chunk(7).enumerate() {
        assert_eq!(result.unwrap(), number as u32);
    }
    for (number, read) in reads.into_iter().enumerate() {
        let text = read_all(read);
        match number % 3 {
            0 => assert_eq!(text, ""),
            _ => assert_eq!(text, number.to_string()),
        }
    }
    end(pool);
}

#[test]
fn a_job_with_descriptors_survives_the_death_of_a_worker_that_has_not_begun_it() {
    let _dog = watchdog();
    let pool = new_pool(1);
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
    for _ in 0..3 {
        let pids = pool.worker_pids();
        let victim = nix::unistd::Pid::from_raw(pids[0].cast_signed());
        nix::sys::signal::kill(victim, nix::sys::signal::Signal::SIGSTOP).unwrap();
        let status = format!("/proc/{victim}/stat"); // It may just have been looking for work.
        until(|| std::fs::read_to_string(&status).unwrap().contains(") T "));
        let (read, write) = pipe();
        let job = pool.submit(write_to, (write, "late".to_owned())).unwrap();
        kill(pids[0]);
        job.wait().unwrap();
        assert_eq!(read_all(read), "late");
    }
    end(pool);
}

#[test]
fn an_initializer_has_descriptors_in_every_worker_also_in_later_ones() {
    let _dog = watchdog();
    static TABLE: OnceLock<Shared<[u64]>> = OnceLock::new();
    fn initialize(table: Shared<[u64]>) {
        TABLE.set(table).unwrap();
    }
    let table = Shared::from_slice(&[3, 5, 7]).unwrap();
    let pool = builder()
        .workers(2)
        .initializer(initialize, table)
        .build()
        .unwrap();
    let look = |at: usize| TABLE.get().unwrap()[at];
    for round in 0..2 {
        let seen: Vec<_> = pool.map(look, [0, 1, 2]).map(Result::unwrap).collect();
        assert_eq!(seen, [3, 5, 7], "round {round}");
        pool.worker_pids().into_iter().for_each(kill);
    }
    end(pool);
}

#[test]
fn one_shared_slice_serves_many_jobs_and_comes_back_as_the_same_memory() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let numbers: Vec<u32> = (0..1 << 20).collect();
    let shared = Shared::from_slice(&numbers).unwrap();
    let parts = (0..16).map(|part| shared.slice(part << 16..(part + 1) << 16));
    let sums = pool.map(
        |part: Shared<[u32]>| part.iter().map(|&n| u64::from(n)).sum::<u64>(),
        parts,
    );
    let sum: u64 = sums.map(Result::unwrap).sum();
    assert_eq!(sum, numbers.iter().map(|&n| u64::from(n)).sum::<u64>());
    let half = |all: Shared<[u32]>| all.slice(all.len() / 2..);
    let half = pool.submit(half, shared.clone()).unwrap().wait().unwrap();
    drop(shared);
    assert_eq!(*half, numbers[1 << 19..]);
    assert_eq!(Shared::from_slice(&[0u8; 0]).unwrap().len(), 0);
    end(pool);
}

#[test]
fn nobody_can_write_what_is_shared() {
    let shared = Shared::from_slice(&[1u8; 100]).unwrap();
    // Others have such files, too: ours is the one that is mapped where we read.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let start = format!("{:x}-", shared.as_ptr().addr());
    let ours = maps.lines().find(|line| line.starts_with(&start)).unwrap();
    assert!(ours.contains("threeply-shared"), "{ours}");
    let inode: u64 = ours.split_whitespace().nth(4).unwrap().parse().unwrap();
    let paths = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let paths = paths.map(|entry| entry.path());
    let paths = paths.filter(|path| std::fs::metadata(path).is_ok_and(|it| it.ino() == inode));
    let open = |path| {
        let mut options = File::options();
        // The number may be another file's by now.
        options.write(true).custom_flags(libc::O_NONBLOCK);
        options.open(path).ok()
    };
    let opened = paths.filter_map(open);
    let mut ours: Vec<_> = opened
        .filter(|file| file.metadata().unwrap().ino() == inode)
        .collect();
    assert!(!ours.is_empty(), "nothing was tried");
    for file in &mut ours {
        let refused = file.write(&[2]).unwrap_err().kind();
        assert_eq!(refused, std::io::ErrorKind::PermissionDenied);
    }
    assert_eq!(*shared, [1; 100]);
}

#[test]
fn memory_with_one_owner_moves_to_a_job_and_back() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let mut memory = SharedMut::<[u64]>::zeroed(1 << 16).unwrap();
    for round in 1..=3 {
        memory = pool
            .call(
                |mut memory: SharedMut<[u64]>| {
                    memory.as_mut_slice().iter_mut().for_each(|n| *n += 1);
                    memory
                },
                memory,
            )
            .unwrap()
            .unwrap();
        assert!(memory.as_mut_slice().iter().all(|&n| n == round));
    }
    // A job may seal what it has written.
    let seal = |memory: SharedMut<[u64]>| memory.into_shared().unwrap();
    let shared = pool.call(seal, memory).unwrap().unwrap();
    assert!(shared.iter().all(|&n| n == 3));
    end(pool);
}

#[test]
fn what_cannot_travel_says_why() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let null = File::open("/dev/null").unwrap();
    let fd = || Fd::from(null.as_fd().try_clone_to_owned().unwrap());
    let many: Vec<Fd> = (0..300).map(|_| fd()).collect();
    match pool.submit(|fds: Vec<Fd>| fds.len(), many) {
        Err(Error::Argument { reason }) => assert!(reason.contains("at most 253"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let twice = |(_, _): (SharedMut<[u8]>, u8)| ();
    let memory = SharedMut::<[u8]>::zeroed(8).unwrap();
    // Somebody who serializes it by himself, and sends it then.
    struct Again<T>(T);
    impl<T: serde::Serialize> serde::Serialize for Again<T> {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            (&self.0, &self.0).serialize(to)
        }
    }
    impl<'de, T> serde::Deserialize<'de> for Again<T> {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Again<T>, D::Error> {
            unreachable!("never sent")
        }
    }
    match pool.submit(|_: Again<SharedMut<[u8]>>| (), Again(memory)) {
        Err(Error::Argument { reason }) => assert!(reason.contains("moved"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let memory = SharedMut::<[u8]>::zeroed(8).unwrap();
    pool.call(twice, (memory, 1)).unwrap().unwrap();
    end(pool);
}
