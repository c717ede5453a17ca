//! `map` and its relatives.

use crate::{end, kill_myself, new_pool, watchdog};
use threeply_pools::process::JobError;

#[test]
fn map_keeps_the_order_and_pulls_lazily() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let mut expected = 0;
    for value in pool.map(|n: u64| n * 3, 0..50_000) {
        assert_eq!(value.unwrap(), expected);
        expected += 3;
    }
    assert_eq!(expected, 150_000);
    let pulled = std::cell::Cell::new(0u64);
    let endless = std::iter::repeat_with(|| pulled.replace(pulled.get() + 1));
    let first: Vec<_> = pool
        .map(|n: u64| n, endless)
        .window(10)
        .chunk(3)
        .take(25)
        .collect();
    assert!(first.into_iter().map(Result::unwrap).eq(0..25));
    assert!(pulled.get() <= 35, "{} pulled", pulled.get());
    let mut seen = vec![false; 1000];
    for (index, value) in pool.map_unordered(|n: usize| n, 0..1000) {
        assert_eq!(value.unwrap(), index);
        assert!(!std::mem::replace(&mut seen[index], true), "twice");
    }
    assert!(seen.into_iter().all(|seen| seen));
    let sums = pool.starmap(|a: i32, b: i32| a + b, [(1, 2), (3, 4)]);
    assert_eq!(sums.map(Result::unwrap).collect::<Vec<_>>(), [3, 7]);
    end(pool);
}

#[test]
fn a_death_in_a_chunk_costs_one_element_and_the_rest_runs_once() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    let inputs = (0..300u32).map(|i| (path.clone(), i));
    let run = |(path, i): (String, u32)| {
        // Fails if the file exists: each runs at most once.
        std::fs::File::create_new(format!("{path}/{i}")).unwrap();
        if i % 50 == 25 {
            kill_myself();
        }
        i
    };
    for (i, outcome) in pool.map(run, inputs).chunk(40).enumerate() {
        match outcome {
            Ok(value) => assert_eq!(value, i as u32),
            Err(JobError::Died(_)) => assert_eq!(i % 50, 25),
            Err(other) => panic!("{i}: {other}"),
        }
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 300);
    end(pool);
}

#[test]
fn as_completed_gives_the_quick_ones_first() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let gate = tempfile::NamedTempFile::new().unwrap();
    let path = gate.path().to_str().unwrap().to_owned();
    let wait_for_removal = |path: String| {
        while !path.is_empty() && std::fs::exists(&path).unwrap() {
            std::thread::yield_now();
        }
    };
    let jobs =
        [path, String::new(), String::new()].map(|p| pool.submit(wait_for_removal, p).unwrap());
    let mut order = Vec::new();
    let mut gate = Some(gate);
    for (index, outcome) in threeply_pools::process::as_completed(jobs) {
        outcome.unwrap();
        order.push(index);
        if order.len() == 2 {
            drop(gate.take());
        }
    }
    assert_eq!(order, [1, 2, 0]);
    end(pool);
}

#[test]
fn a_map_that_is_dropped_runs_no_more_of_its_inputs() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let (file, path) = crate::gate();
    let (ledger, list) = crate::gate();
    let run = |(gate, list): (String, String)| {
        use std::io::Write;
        let list = std::fs::File::options().append(true).open(list);
        list.unwrap().write_all(b"x").unwrap();
        crate::hold(gate);
    };
    let begun = || ledger.as_file().metadata().unwrap().len();
    let first = (String::new(), list.clone());
    let inputs = std::iter::once(first).chain(std::iter::repeat((path, list)));
    let mut map = pool.map(run, inputs).chunk(1).window(8);
    map.next().unwrap().unwrap();
    crate::until(|| begun() == 2);
    drop(map);
    drop(file);
    pool.call(|n: u8| n, 1).unwrap().unwrap(); // Behind all that it had submitted.
    assert_eq!(begun(), 2, "the one that had begun, and no other");
    end(pool);
}
