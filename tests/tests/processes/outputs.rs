//! What workers write to stdout and stderr.

use crate::{builder, end, kill_myself, new_pool, watchdog};
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use threeply_pools::process::{JobError, JobHandle, Output, Stream};

type Lines = Arc<Mutex<Vec<(Option<String>, Stream, String)>>>;

/// An output that is gathered with the names of the jobs.
fn gathered() -> (Output, Lines) {
    let lines = Lines::default();
    let seen = Arc::clone(&lines);
    let output = Output::lines(move |line| {
        let name = line.job.and_then(|job| job.name()).map(str::to_owned);
        seen.lock()
            .unwrap()
            .push((name, line.stream, line.text.to_owned()));
    });
    (output, lines)
}

#[test]
fn lines_come_with_the_job_that_wrote_them() {
    let _dog = watchdog();
    let (output, lines) = gathered();
    let pool = builder()
        .workers(2)
        .stdout(output.clone())
        .stderr(output)
        .build()
        .unwrap();
    let talk = |n: u32| {
        println!("one {n}");
        eprintln!("error {n}");
        print!("no end of line {n}");
    };
    let jobs: Vec<_> = (0..100u32)
        .map(|n| pool.options().name(n.to_string()).submit(talk, n).unwrap())
        .collect();
    jobs.into_iter().for_each(|job| job.wait().unwrap());
    end(pool);
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 300);
    for n in 0..100 {
        let name = Some(n.to_string());
        let of = |stream| -> Vec<&str> {
            let mine = lines
                .iter()
                .filter(|line| line.0 == name && line.1 == stream);
            mine.map(|line| line.2.as_str()).collect()
        };
        assert_eq!(
            of(Stream::Stdout),
            [format!("one {n}"), format!("no end of line {n}")]
        );
        assert_eq!(of(Stream::Stderr), [format!("error {n}")]);
    }
}

#[test]
fn elements_of_a_chunk_write_lines_of_their_own() {
    let _dog = watchdog();
    let (output, lines) = gathered();
    let pool = builder().workers(1).stdout(output).build().unwrap();
    let talk = |n: u32| print!("{n}");
    pool.map(talk, 0..50)
        .chunk(10)
        .for_each(|outcome| outcome.unwrap());
    end(pool);
    let texts: Vec<String> = lines
        .lock()
        .unwrap()
        .iter()
        .map(|line| line.2.clone())
        .collect();
    assert_eq!(texts, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn long_lines_come_in_bounded_pieces_and_nothing_is_lost() {
    let _dog = watchdog();
    let (output, lines) = gathered();
    let pool = builder().workers(1).stdout(output).build().unwrap();
    let write = |len: usize| println!("{}", "x".repeat(len));
    pool.submit(write, 1_000_000).unwrap().wait().unwrap();
    end(pool);
    let lines = lines.lock().unwrap();
    assert!(lines.iter().all(|line| line.2.len() <= 64 * 1024 + 1));
    assert_eq!(
        lines.iter().map(|line| line.2.len()).sum::<usize>(),
        1_000_000
    );
}

#[test]
fn a_death_tells_the_last_words() {
    let _dog = watchdog();
    let (output, lines) = gathered();
    for stderr in [Output::relay(), output] {
        let pool = builder().workers(1).stderr(stderr).build().unwrap();
        let die = |_: ()| {
            eprint!("(expected) alas!");
            std::process::abort()
        };
        let job: JobHandle<()> = pool.submit(die, ()).unwrap();
        let error = job.wait().unwrap_err();
        let death = error.death().expect("died");
        assert!(death.last_words.ends_with("alas!"), "{death}");
        assert!(
            error.to_string().contains("last words: (expected) alas!"),
            "{error}"
        );
        end(pool);
    }
    assert!(
        lines
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.2.contains("alas"))
    );
}

#[test]
fn output_to_nowhere_to_a_file_and_to_a_full_disk() {
    let _dog = watchdog();
    let talk = |n: u32| {
        println!("{n}");
        n
    };
    let pool = builder()
        .workers(1)
        .stdout(Output::null())
        .stderr(Output::null())
        .build()
        .unwrap();
    assert_eq!(pool.submit(talk, 1).unwrap().wait().unwrap(), 1);
    end(pool);

    let file = tempfile::tempfile().unwrap();
    let output = Output::file(file.try_clone().unwrap());
    let pool = builder().workers(1).stdout(output).build().unwrap();
    assert_eq!(pool.submit(talk, 12).unwrap().wait().unwrap(), 12);
    end(pool);
    use std::os::unix::fs::FileExt;
    let mut text = [0; 8];
    let len = file.read_at(&mut text, 0).unwrap();
    assert_eq!(&text[..len], b"12\n");

    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let pool = builder()
        .workers(1)
        .stdout(Output::file(full))
        .build()
        .unwrap();
    // What `println!` does then is a panic, and concerns its job alone.
    let error = pool.submit(talk, 1).unwrap().wait().unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    let careful = |_: ()| writeln!(std::io::stdout(), "x").is_err();
    assert!(pool.submit(careful, ()).unwrap().wait().unwrap());
    assert_eq!(pool.submit(|n: u8| n, 3).unwrap().wait().unwrap(), 3);
    end(pool);
}

#[test]
fn a_callback_that_panics_or_stays_holds_up_output_and_nothing_else() {
    let _dog = watchdog();
    let seen = Arc::new((Mutex::new(0), Condvar::new()));
    let shown = Arc::clone(&seen);
    let output = Output::lines(move |line| {
        *shown.0.lock().unwrap() += 1;
        shown.1.notify_all();
        match line.text {
            "panic" => panic!("(expected)"),
            "stay" => loop {
                std::thread::park();
            },
            _ => {}
        }
    });
    let pool = builder().workers(1).stdout(output).build().unwrap();
    let say = |text: String| println!("{text}");
    for text in ["panic", "well", "stay"] {
        pool.submit(say, text.to_owned()).unwrap().wait().unwrap();
    }
    let so_many = seen
        .1
        .wait_while(seen.0.lock().unwrap(), |seen| *seen < 3)
        .unwrap();
    drop(so_many);
    // Nobody reads any more, so this job is held up; its death isn't.
    let flood = |_: ()| {
        for _ in 0..10_000 {
            println!("{}", "x".repeat(100));
        }
    };
    let stuck = pool
        .options()
        .limit(Duration::from_millis(50))
        .submit(flood, ())
        .unwrap();
    assert!(matches!(stuck.wait(), Err(JobError::TimedOut { .. })));
    assert_eq!(pool.submit(|n: u8| n, 3).unwrap().wait().unwrap(), 3);
    let before = Instant::now();
    end(pool);
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[test]
#[allow(clippy::zombie_processes)] // left behind on purpose
fn a_job_that_takes_its_outputs_away_or_leaves_them_to_a_daemon_still_ends() {
    let _dog = watchdog();
    let (output, lines) = gathered();
    let pool = builder().workers(1).stdout(output).build().unwrap();
    let replace = |_: ()| {
        // A file in the place of stdout: it must stay free of marks.
        println!("before");
        let file = tempfile::tempfile().unwrap();
        nix::unistd::dup2_stdout(&file).unwrap();
        println!("into the file");
        file.metadata().unwrap().len()
    };
    assert_eq!(pool.submit(replace, ()).unwrap().wait().unwrap(), 14);
    assert_eq!(pool.submit(|n: u8| n, 1).unwrap().wait().unwrap(), 1);
    let leave = |_: ()| {
        let child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        kill_myself();
        child.id()
    };
    assert!(
        pool.submit(leave, ())
            .unwrap()
            .wait()
            .unwrap_err()
            .death()
            .is_some()
    );
    end(pool);
    assert_eq!(lines.lock().unwrap()[0].2, "before");
}

#[test]
fn a_relay_to_a_closed_pipe_or_a_full_disk_drops_what_it_can_not_write() {
    let _dog = watchdog();
    let outer = new_pool(1);
    // In a process of its own, whose stderr is taken away.
    let inner = |full: bool| {
        if full {
            let disk = std::fs::File::options().write(true).open("/dev/full");
            nix::unistd::dup2_stderr(disk.unwrap()).unwrap();
        } else {
            let (read, write) = std::io::pipe().unwrap();
            nix::unistd::dup2_stderr(&write).unwrap();
            drop(read);
        }
        let pool = new_pool(1);
        let shout = |lines: usize| {
            for _ in 0..lines {
                eprintln!("{}", "x".repeat(100));
            }
            lines
        };
        // Much more than a pipe holds.
        assert_eq!(pool.submit(shout, 5_000).unwrap().wait().unwrap(), 5_000);
        end(pool);
    };
    for full in [true, false] {
        outer.submit(inner, full).unwrap().wait().unwrap();
    }
    end(outer);
}
