//! The few system calls that the runner and the `limit`s need, each a safe
//! function. Everything unsafe of this crate that isn't a workload is here.

// Raw system calls are unsafe by nature; each block below is one of them.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The CPUs that this process was given when it was first asked: pinning later
/// narrows the mask of a thread, not this answer.
pub fn cpus() -> &'static [usize] {
    static CPUS: OnceLock<Vec<usize>> = OnceLock::new();
    CPUS.get_or_init(|| {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: the pointer is to a cpu_set_t of the given size.
        let result =
            unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
        if result < 0 {
            return vec![0];
        }
        // SAFETY: all zeroes is a valid (empty) set, and the call has filled it.
        let set = unsafe { set.assume_init() };
        let allowed = |cpu: &usize| {
            // SAFETY: `cpu` is below CPU_SETSIZE, the capacity of the set.
            unsafe { libc::CPU_ISSET(*cpu, &set) }
        };
        (0..libc::CPU_SETSIZE as usize).filter(allowed).collect()
    })
}

/// Pins the calling thread, and those that it starts from now on, to the
/// `index`-th of [`cpus`] (counted around).
pub fn pin(index: usize) {
    let cpu = cpus()[index % cpus().len()];
    set_affinity(&[cpu]);
}

/// Lets the calling thread run on every CPU of [`cpus`] again.
pub fn unpin() {
    set_affinity(cpus());
}

fn set_affinity(cpus: &[usize]) {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    for &cpu in cpus {
        // SAFETY: all zeroes is a valid set.
        let set = unsafe { set.assume_init_mut() };
        // SAFETY: `cpu` came out of such a set, so it is below its capacity.
        unsafe { libc::CPU_SET(cpu, set) };
    }
    // SAFETY: the pointer is to a cpu_set_t of the given size.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set.as_ptr()) };
    assert_eq!(
        result,
        0,
        "sched_setaffinity: {}",
        io::Error::last_os_error()
    );
}

fn clock(id: libc::clockid_t) -> io::Result<Duration> {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to a timespec.
    check(unsafe { libc::clock_gettime(id, time.as_mut_ptr()) })?;
    // SAFETY: all zeroes is a valid timespec, and the call has filled it.
    let time = unsafe { time.assume_init() };
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// CPU time of this process, all threads.
pub fn own_cpu() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default()
}

/// How often a thread of this process, any of them, gave its core up or lost it.
pub fn own_switches() -> u64 {
    let usage = usage(libc::RUSAGE_SELF);
    (usage.ru_nvcsw + usage.ru_nivcsw).cast_unsigned()
}

/// CPU time of another process, all threads, in nanoseconds where
/// `/proc/PID/stat` counts in ticks of 10 ms. Zero when it is gone.
pub fn cpu_of(pid: u32) -> Duration {
    let mut id = 0;
    // SAFETY: the pointer is to a clockid_t.
    let result = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut id) };
    if result == 0 {
        clock(id).unwrap_or_default()
    } else {
        Duration::ZERO
    }
}

/// CPU time of this process and of all that live below it.
pub fn tree_cpu() -> Duration {
    let mut sum = own_cpu() + children_cpu();
    let mut parents = vec![std::process::id()];
    let all = parents_of_all();
    while let Some(parent) = parents.pop() {
        for (pid, _) in all.iter().filter(|(_, of)| *of == parent) {
            sum += cpu_of(*pid);
            parents.push(*pid);
        }
    }
    sum
}

/// CPU time of the children that were waited for.
fn children_cpu() -> Duration {
    let usage = usage(libc::RUSAGE_CHILDREN);
    timeval(usage.ru_utime) + timeval(usage.ru_stime)
}

/// What the system accounts to `whom`; all zeroes if it doesn't say.
fn usage(whom: libc::c_int) -> libc::rusage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a rusage.
    unsafe { libc::getrusage(whom, usage.as_mut_ptr()) };
    // SAFETY: all zeroes is a valid rusage, and so is what the call wrote.
    unsafe { usage.assume_init() }
}

fn timeval(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000)
}

/// Process id and parent of every process that `/proc` shows.
fn parents_of_all() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name may contain anything, also spaces and parentheses.
            let parent = stat
                .rsplit_once(')')?
                .1
                .split_whitespace()
                .nth(1)?
                .parse()
                .ok()?;
            Some((pid, parent))
        })
        .collect()
}

/// Resident memory of a process in bytes.
pub fn resident(pid: u32) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm"))
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    pages * page_size()
}

/// Descriptors that another process has open.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Bytes of a page.
pub fn page_size() -> u64 {
    // SAFETY: sysconf takes any name.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(4_096) as u64
}

/// Voluntary and involuntary context switches of this process so far, all
/// threads, also those that have ended.
pub fn context_switches() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a rusage.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } < 0 {
        return 0;
    }
    // SAFETY: all zeroes is a valid rusage, and the call has filled it.
    let usage = unsafe { usage.assume_init() };
    (usage.ru_nvcsw + usage.ru_nivcsw) as u64
}

/// Waits for the child and returns its exit status and peak resident bytes.
pub fn wait_with_peak(pid: u32) -> io::Result<(i32, u64)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: the pointers are to an int and to a rusage.
        let result = unsafe { libc::wait4(pid as libc::pid_t, &mut status, 0, usage.as_mut_ptr()) };
        match check(result) {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // SAFETY: all zeroes is a valid rusage, and the call has filled it.
    let usage = unsafe { usage.assume_init() };
    Ok((status, usage.ru_maxrss as u64 * 1024))
}

/// Ends the process group of a child that this process has started.
pub fn kill_group(leader: u32) {
    // SAFETY: kill takes any number; the group is that of a child which has not
    // been waited for, so its number can't have been given to another.
    unsafe { libc::kill(-(leader as libc::pid_t), libc::SIGKILL) };
}

/// Raises the soft limit of open files to the hard one and returns it.
pub fn raise_open_files() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to an rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } < 0 {
        return 1_024;
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to an rlimit.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    limit.rlim_cur
}

static INTERRUPTED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether Ctrl-C was pressed since [`catch_interrupts`].
pub fn interrupted() -> bool {
    INTERRUPTED.load(std::sync::atomic::Ordering::Relaxed)
}

/// From now on Ctrl-C is noted instead of ending the process; a second one ends it.
pub fn catch_interrupts() {
    extern "C" fn note(_: libc::c_int) {
        // A store to an atomic is all that a signal handler should do.
        if INTERRUPTED.swap(true, std::sync::atomic::Ordering::Relaxed) {
            // SAFETY: _exit is async-signal-safe.
            unsafe { libc::_exit(130) };
        }
    }
    let handler: extern "C" fn(libc::c_int) = note;
    // SAFETY: the handler only touches an atomic and calls _exit.
    unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) };
}

/// Waits until the child has exited, `deadline` has passed, or Ctrl-C; `true`
/// when it has exited (it still has to be waited for).
pub fn wait_exit(pidfd: BorrowedFd<'_>, deadline: std::time::Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let mut poll = libc::pollfd {
            fd: pidfd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the pointer is to one pollfd.
        let ready = unsafe { libc::poll(&mut poll, 1, left.as_millis() as i32 + 1) };
        if ready > 0 {
            return true;
        }
        if interrupted() || std::time::Instant::now() >= deadline {
            return false;
        }
    }
}

/// A descriptor that becomes readable when the process exits.
pub fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the arguments are a pid and no flags.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    own(check(fd as i32)?)
}

fn own(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A blocking eventfd.
pub fn eventfd() -> OwnedFd {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    own(check(fd).expect("eventfd")).expect("eventfd")
}

/// A timer on the monotonic clock.
pub fn timerfd() -> OwnedFd {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) };
    own(check(fd).expect("timerfd_create")).expect("timerfd_create")
}

/// Arms a timer once, after `delay`.
pub fn timerfd_arm(timer: BorrowedFd<'_>, delay: Duration) {
    let zero = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let value = libc::timespec {
        tv_sec: delay.as_secs() as libc::time_t,
        tv_nsec: i64::from(delay.subsec_nanos()),
    };
    let spec = libc::itimerspec {
        it_interval: zero,
        it_value: value,
    };
    // SAFETY: the pointer is to an itimerspec; no old value is asked for.
    let result =
        unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &spec, std::ptr::null_mut()) };
    check(result).expect("timerfd_settime");
}

/// Reads up to `buffer.len()` bytes.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are of one buffer.
    let got = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    if got < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(got as usize)
    }
}

/// Writes up to `buffer.len()` bytes.
pub fn write(fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are of one buffer.
    let put = unsafe { libc::write(fd.as_raw_fd(), buffer.as_ptr().cast(), buffer.len()) };
    if put < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(put as usize)
    }
}

/// Sleeps while `word` is `expected`.
pub fn futex_wait(word: &AtomicU32, expected: u32) {
    let none = std::ptr::null::<libc::timespec>();
    // SAFETY: the word outlives the call; no timeout is given.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            none,
        )
    };
}

/// Wakes one thread that sleeps on `word`.
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: the word outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
        )
    };
}

/// Whether the kernel lets us use io_uring.
pub fn io_uring_works() -> bool {
    let mut parameters = [0u8; 120];
    // SAFETY: the pointer is to as many zeroed bytes as an io_uring_params has.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
    check(fd as i32).and_then(own).is_ok()
}

/// Memory that a child could share: anonymous, mapped until dropped.
#[derive(Debug)]
pub struct SharedMapping {
    start: std::ptr::NonNull<u8>,
    len: usize,
}

impl SharedMapping {
    /// Maps `len` zeroed bytes.
    pub fn new(len: usize) -> SharedMapping {
        // SAFETY: a new mapping wherever the kernel likes touches nothing of ours.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(
            start,
            libc::MAP_FAILED,
            "mmap: {}",
            io::Error::last_os_error()
        );
        let start = std::ptr::NonNull::new(start.cast()).expect("mmap doesn't give null");
        SharedMapping { start, len }
    }

    /// Its bytes; nobody else has them.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is `len` bytes long, lives as long as `self`, is
        // initialized by the kernel, and no other process was given it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for SharedMapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no slice of it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// An epoll instance.
pub fn epoll() -> OwnedFd {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    own(check(fd).expect("epoll_create1")).expect("epoll_create1")
}

/// Watches `fd`, edge-triggered, for reading, for writing and for its end.
pub fn epoll_add(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, token: u64) {
    let events = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: the pointer is to an epoll_event.
    let result = unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            fd.as_raw_fd(),
            &mut event,
        )
    };
    check(result).expect("epoll_ctl");
}

/// Waits for events and puts their tokens into `tokens`.
pub fn epoll_wait(epoll: BorrowedFd<'_>, tokens: &mut Vec<u64>) {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
    // SAFETY: the pointer and the length are of one array.
    let got = unsafe {
        libc::epoll_wait(
            epoll.as_raw_fd(),
            events.as_mut_ptr(),
            events.len() as i32,
            -1,
        )
    };
    tokens.clear();
    tokens.extend(
        events
            .iter()
            .take(got.max(0) as usize)
            .map(|event| event.u64),
    );
}

/// Accepts a connection that doesn't block.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no address is asked for.
    let fd = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            flags,
        )
    };
    own(check(fd)?)
}
