//! Pools in programs that are linked in other ways than this one: at a fixed address,
//! without shared libraries, and both.
//!
//! The programs are linked against the library that this test was built with, so that
//! nothing is compiled twice; skipped, aloud, where that can't be done.

use crate::watchdog;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = r#"
use threeply_pools::process::ProcessPool;

fn main() {
    println!("main");
    let pool = ProcessPool::new(2).unwrap();
    let sum: u64 = pool.map(|n: u64| n * n, 0..100).map(Result::unwrap).sum();
    let overflow = |n: u64| -> u64 {
        fn deep(n: u64) -> u64 {
            let filler = std::hint::black_box([n; 64]);
            deep(n + 1) + filler[0]
        }
        deep(n)
    };
    let died = pool.submit(overflow, 0).unwrap().wait().unwrap_err();
    assert!(died.to_string().contains("overflowed its stack"), "{died}");
    pool.shutdown(std::time::Duration::MAX);
    println!("{sum}");
}
"#;

/// The libraries that this test may have been built with, the newest first.
fn libraries(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libthreeply_pools-") && name.ends_with(".rlib")
        })
        .map(|entry| (entry.metadata().unwrap().modified().unwrap(), entry.path()))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

#[test]
fn pools_work_however_a_program_is_linked() {
    let _dog = watchdog();
    let own = std::env::current_exe().unwrap();
    let dependencies = own.parent().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("main.rs");
    std::fs::write(&source, PROGRAM).unwrap();
    let program = directory.path().join("program");
    let link = |flags: &[&str], library: &Path| {
        let mut dependency = std::ffi::OsString::from("dependency=");
        dependency.push(dependencies);
        let mut named = std::ffi::OsString::from("threeply_pools=");
        named.push(library);
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let mut command = Command::new(rustc);
        command.args(["--edition", "2024"]).args(flags);
        command.arg("-L").arg(dependency).arg("--extern").arg(named);
        let linked = command.arg("-o").arg(&program).arg(&source).output();
        linked.is_ok_and(|output| output.status.success())
    };
    let Some(library) = libraries(dependencies)
        .into_iter()
        .find(|library| link(&[], library))
    else {
        eprintln!("skipped: no compiler that takes the library beside this test");
        return;
    };
    let fixed = "relocation-model=static";
    let closed = "target-feature=+crt-static";
    for flags in [
        &["-C", fixed][..],
        &["-C", "relocation-model=pie"],
        &["-C", closed],
        &["-C", closed, "-C", fixed],
    ] {
        if !link(flags, &library) {
            eprintln!("skipped: nothing can be linked with {flags:?} here");
            continue;
        }
        let output = Command::new(&program).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{flags:?}: {complaint}");
        // The program's own `main` has run once, in no worker.
        assert_eq!(text, "main\n328350\n", "{flags:?}: {complaint}");
    }
}
