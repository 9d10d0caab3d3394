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

fn is_going(place: &Place) -> bool {
    place.places.lock().going.contains_key(&place.number())
}

#[tokio::test]
async fn the_oldest_stranger_goes_for_a_new_connection() {
    let places = Places::new(3, 100);
    let known = admit(&places).await;
    known.authenticated();
    let older = admit(&places).await;
    let younger = admit(&places).await;
    let _running = Running::begin(older.connection().clone(), Version::HTTP_11);
    // Who comes does not wait until the other is gone.
    admit(&places).await.authenticated();
    let going = [&known, &older, &younger].map(is_going);
    assert_eq!(going, [false, true, false]);
    timeout(Duration::from_secs(60), older.has_to_go())
        .await
        .unwrap();
}

#[tokio::test]
async fn strangers_without_number_lock_nobody_out() {
    let places = Places::new(8, 100);
    let known = admit(&places).await;
    known.authenticated();
    for _ in 0..1_000 {
        ends_when_told(admit(&places).await);
    }
    assert!(!is_going(&known));
    assert!(places.lock().open.len() <= 8);
}

#[tokio::test]
async fn those_who_do_not_go_when_they_are_told_are_bounded_too() {
    let places = Places::new(8, 100);
    let mut all = Vec::new();
    for _ in 0..8 + limits::GOING_MAX {
        all.push(admit(&places).await);
    }
    assert!(waits(admit(&places)).await);
    all.remove(0);
    admit(&places).await;
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
    let chosen = || next_to_go(&places.lock().open, *now.borrow());
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
    let mut of_known = places.held(known.connection());
    let mut of_stranger = places.held(stranger.connection());
    of_known.take(60).await.unwrap();
    of_stranger.take(40).await.unwrap();
    // Before the stranger is gone.
    let mut more = places.held(known.connection());
    more.take(40).await.unwrap();
    assert_eq!((is_going(&known), is_going(&stranger)), (false, true));
    assert_eq!(places.lock().bytes, 140);
    drop((of_stranger, stranger));
    // What only those with a key hold is waited for.
    let mut later = places.held(known.connection());
    assert!(waits(later.take(1)).await);
    assert!(!is_going(&known));
    drop((of_known, more));
    assert_eq!(places.lock().bytes, 0);
    assert_eq!(places.held(known.connection()).take(101).await, Err(Full));
    places.held(known.connection()).take(100).await.unwrap();
}

#[tokio::test]
async fn who_asks_for_little_is_served_beside_those_who_ask_for_much() {
    let places = Places::new(10, 100);
    let mut all = Vec::new();
    for bytes in [2, 40, 50, 8] {
        let place = admit(&places).await;
        let mut held = places.held(place.connection());
        held.take(bytes).await.unwrap();
        all.push((place, held));
    }
    // The one that holds most does not go for its own sake.
    assert!(waits(all[2].1.take(1)).await);
    assert!(!all.iter().any(|(place, _)| is_going(place)));
    all[0].1.take(3).await.unwrap();
    let going: Vec<bool> = all.iter().map(|(place, _)| is_going(place)).collect();
    assert_eq!(going, [false, false, true, false]);
}

#[tokio::test]
async fn bytes_of_those_who_do_not_go_are_bounded_too() {
    let places = Places::new(10, 100);
    let mut all = Vec::new();
    for _ in 0..2 {
        let place = admit(&places).await;
        let mut held = places.held(place.connection());
        held.take(100).await.unwrap();
        all.push((place, held));
    }
    let last = admit(&places).await;
    let mut held = places.held(last.connection());
    assert!(waits(held.take(1)).await);
    assert!(!is_going(&all[1].0), "nobody goes in vain");
    all.remove(0);
    held.take(1).await.unwrap();
}
