//! Whether long work is still wanted: who asked for it may have gone, or the disk may be nearly full.
//!
//! Loading, importing and unpacking run on a thread of their caller and ask again and again on it;
//! so the question goes with the thread, and not through every function in between.

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::{Error, Result};

/// Answers why the work is to end, if it is.
type Ask = dyn Fn() -> Option<String>;

thread_local! {
    static ASKED: RefCell<Option<Rc<Ask>>> = const { RefCell::new(None) };
}

/// Does work of this thread that ends with [`Error::Stopped`] soon after `ask` gives a reason. `ask`
/// is called very often and has to be cheap.
pub fn watched<T>(ask: impl Fn() -> Option<String> + 'static, work: impl FnOnce() -> T) -> T {
    /// Also when the work panics: the thread serves others afterwards.
    struct Forgotten;
    impl Drop for Forgotten {
        fn drop(&mut self) {
            ASKED.with_borrow_mut(Option::take);
        }
    }
    ASKED.set(Some(Rc::new(ask)));
    let _forgotten = Forgotten;
    work()
}

/// # Errors
/// [`Error::Stopped`] when the work of this thread is to end.
pub(crate) fn go_on() -> Result<()> {
    let ask = ASKED.with_borrow(Clone::clone);
    match ask.and_then(|ask| ask()) {
        None => Ok(()),
        Some(why) => Err(Error::Stopped(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_watched_work_ends() {
        assert!(go_on().is_ok());
        let told = watched(|| Some("the disk is full".into()), go_on);
        assert_eq!(told.unwrap_err().to_string(), "the disk is full");
        assert!(watched(|| None, go_on).is_ok());
        assert!(go_on().is_ok());
    }
}
