//! A waker from closures that aren't `Send`; it must stay on its thread.

#![allow(unsafe_code)] // Such a waker can't be made safely.

use std::rc::Rc;
use std::task::{RawWaker, RawWakerVTable, Waker};

pub(super) trait Woken {
    fn woken(&self);
}

type Data = Rc<dyn Woken>;

const VTABLE: RawWakerVTable = RawWakerVTable::new(
    // All four: `data` is a leaked `Box<Data>`, made by `raw`, freed once in
    // `wake` or `drop`; the tests use these wakers on one thread only.
    // SAFETY: see above.
    |data| raw(unsafe { &*data.cast::<Data>() }.clone()),
    // SAFETY: see above.
    |data| unsafe { Box::from_raw(data.cast_mut().cast::<Data>()) }.woken(),
    // SAFETY: see above.
    |data| unsafe { &*data.cast::<Data>() }.woken(),
    // SAFETY: see above.
    |data| drop(unsafe { Box::from_raw(data.cast_mut().cast::<Data>()) }),
);

fn raw(data: Data) -> RawWaker {
    RawWaker::new(Box::into_raw(Box::new(data)).cast_const().cast(), &VTABLE)
}

pub(super) fn waker(data: Data) -> Waker {
    // SAFETY: the vtable keeps the contract but for `Send`; see above.
    unsafe { Waker::from_raw(raw(data)) }
}
