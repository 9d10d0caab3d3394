//! Who goes first, and who never does.

use super::*;
use crate::connection::Running;
use http::Version;
use std::cell::RefCell;
use std::future::Future;
use tokio::time::{Duration, timeout};

/// Ends when it is told to go, as the task of a connection does.
fn ends_when_told(place: Place) {
    tokio::spawn(async move {
        place.connection.has_to_go().await;
    });
}

async fn admit(places: &Arc<Places>) -> Place {
    places.admit("127.0.0.1:1".parse().unwrap()).await
}

async fn waits<T>(what: impl Future<Output = T>) -> bool {
    timeout(Duration::from_millis(1), what).await.is_err()
}

#[tokio::test]
async fn the_oldest_stranger_goes_for_a_new_connection() {
    let places = Places::new(3, 100);
    let known = admit(&places).await;
    known.authenticated();
    let older = admit(&places).await;
    let younger = admit(&places).await;
    let running = Running::begin(older.connection().clone(), Version::HTTP_11);
    assert!(waits(admit(&places)).await);
    let going = [&known, &older, &younger].map(|place| place.is_going());
    assert_eq!(going, [false, true, false]);
    // Nobody else goes before it has gone.
    assert!(waits(admit(&places)).await);
    assert!(!younger.is_going());
    drop((running, older));
    admit(&places).await.authenticated();
    assert!(!younger.is_going());
}

#[tokio::test]
async fn strangers_without_number_lock_nobody_out() {
    let places = Places::new(8, 100);
    let known = admit(&places).await;
    known.authenticated();
    for _ in 0..1_000 {
        ends_when_told(admit(&places).await);
    }
    assert!(!known.is_going());
    assert!(places.lock().open.len() <= 8);
}

#[tokio::test]
async fn of_those_with_a_key_the_longest_idle_goes_and_then_who_does_not_read() {
    let places = Places::new(3, 100);
    let now = RefCell::new(Instant::now());
    let mut open = Vec::new();
    for _ in 0..3 {
        let place = admit(&places).await;
        place.authenticated();
        open.push(place);
    }
    let begin = |at: usize| Running::begin(open[at].connection().clone(), Version::HTTP_11);
    let chosen = || {
        let open: Vec<&Connection> = open.iter().map(|place| &**place).collect();
        next_to_go(&open, *now.borrow())
    };
    assert_eq!(chosen(), Some(0));
    let _first = begin(0);
    assert_eq!(chosen(), Some(1));
    let _others = [begin(1), begin(2)];
    assert_eq!(chosen(), None);
    open[2].sent::<()>(&std::task::Poll::Pending);
    assert_eq!(chosen(), None, "a moment is nothing");
    *now.borrow_mut() += limits::UNREAD_TIMEOUT + Duration::from_secs(1);
    assert_eq!(chosen(), Some(2));
    open[2].sent(&std::task::Poll::Ready(()));
    assert_eq!(chosen(), None);
}

#[tokio::test]
async fn bytes_are_one_budget_and_strangers_give_them_back() {
    let places = Places::new(10, 100);
    let (known, stranger) = (admit(&places).await, admit(&places).await);
    known.authenticated();
    let (mut of_known, mut of_stranger) = (
        places.held(known.connection()),
        places.held(stranger.connection()),
    );
    of_known.take(60).await.unwrap();
    of_stranger.take(40).await.unwrap();
    let mut more = places.held(known.connection());
    assert!(waits(more.take(30)).await);
    assert_eq!((known.is_going(), stranger.is_going()), (false, true));
    drop((of_stranger, stranger));
    more.take(40).await.unwrap();
    // What only those with a key hold is waited for.
    let mut later = places.held(known.connection());
    assert!(waits(later.take(1)).await);
    assert!(!known.is_going());
    drop((of_known, more));
    assert_eq!(places.lock().bytes, 0);
    assert_eq!(places.held(known.connection()).take(101).await, Err(Full));
    places.held(known.connection()).take(100).await.unwrap();
}
