//! Errors that are one job's: values that can't cross, and functions that can't be
//! found.
#![allow(unsafe_code)] // takes a function from a shared library

use crate::{builder, end, new_pool, watchdog};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use threeply_pools::process::{Error, JobError};

/// Refuses to be encoded if it says so, else to be decoded.
struct Stubborn {
    by_sender: bool,
}

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.by_sender {
            true => Err(S::Error::custom("not for you")),
            false => to.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Stubborn, D::Error> {
        Err(D::Error::custom("not from you"))
    }
}

#[test]
fn values_that_can_not_cross_are_errors_of_their_job_alone() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let refused = pool.submit(|_: Stubborn| (), Stubborn { by_sender: true });
    assert!(
        matches!(refused, Err(Error::Argument { .. })),
        "{refused:?}"
    );
    let job = pool
        .submit(|_: Stubborn| (), Stubborn { by_sender: false })
        .unwrap();
    let error = job.wait().unwrap_err();
    assert!(matches!(error, JobError::Argument { .. }), "{error}");
    let results = |by_sender: bool| Stubborn { by_sender };
    let error = pool.submit(results, true).unwrap().wait().err().unwrap();
    assert!(matches!(error, JobError::Result { .. }), "{error}");
    let error = pool.submit(results, false).unwrap().wait().err().unwrap();
    assert!(matches!(error, JobError::Undecodable { .. }), "{error}");
    // The same in the middle of a chunk.
    let inputs = (0..9).map(|n| Stubborn { by_sender: n != 4 });
    for (n, outcome) in pool.map(|_: Stubborn| (), inputs).chunk(9).enumerate() {
        match outcome {
            Err(JobError::Rejected(_)) if n != 4 => {}
            Err(JobError::Argument { .. }) if n == 4 => {}
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
    end(pool);
}

#[test]
fn what_is_too_large_is_refused_with_the_limit() {
    let _dog = watchdog();
    let pool = new_pool(1);
    // In a process of its own, whose files may not be as large as they otherwise may.
    let inner = |_: ()| {
        use nix::sys::resource::{Resource, setrlimit};
        setrlimit(Resource::RLIMIT_FSIZE, 8 << 20, 8 << 20).unwrap();
        let pool = new_pool(1);
        let size = 5 << 20;
        let argument = pool.submit(|bytes: Vec<u8>| bytes.len(), vec![1; size]);
        let Err(Error::TooLarge { len, max }) = argument else {
            panic!("{argument:?}");
        };
        assert!(len > max && max >= 1 << 20, "{len} {max}");
        let result = pool
            .submit(|size: usize| vec![1u8; size], size)
            .unwrap()
            .wait();
        let error = result.unwrap_err();
        assert!(
            matches!(error, JobError::TooLarge { len, max } if len > max),
            "{error}"
        );
        assert!(error.to_string().contains("the limit is"), "{error}");
        let fits = pool.submit(|size: usize| vec![1u8; size], 1 << 19).unwrap();
        assert_eq!(fits.wait().unwrap().len(), 1 << 19);
        end(pool);
    };
    pool.submit(inner, ()).unwrap().wait().unwrap();
    end(pool);
}

#[test]
fn a_function_of_a_shared_library_is_refused() {
    let _dog = watchdog();
    let pool = new_pool(1);
    // SAFETY: asks the loader for a symbol by a terminated name.
    let abs = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"abs".as_ptr()) };
    assert!(!abs.is_null());
    // SAFETY: of the size of a function pointer, and never called.
    let abs = unsafe { std::mem::transmute::<*mut libc::c_void, fn(i32) -> i32>(abs) };
    assert!(matches!(pool.submit(abs, -1), Err(Error::NotInExecutable)));
    let mapped: Vec<_> = pool.map(abs, [-1, -2]).collect();
    assert_eq!(mapped.len(), 1, "said once");
    assert!(
        matches!(&mapped[0], Err(JobError::Rejected(error)) if matches!(**error, Error::NotInExecutable))
    );
    end(pool);
}

#[test]
fn a_pool_whose_workers_would_need_main_says_so_instead_of_starting_copies() {
    let error = builder()
        .workers(1)
        .start_in_main(true)
        .build()
        .err()
        .unwrap();
    assert!(
        matches!(error, Error::HookMissing { in_main: true }),
        "{error}"
    );
    assert!(error.to_string().contains("worker_main"));
}
