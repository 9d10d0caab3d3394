//! What people without a key do at the door, and that those with one do not notice.

use super::served::{Answer, Served};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use windlass_api::{UploadPace, limits};

const LIST: &str = "AmazonEC2ContainerServiceV20141113.ListClusters";

/// Whether the server has ended a connection.
fn has_ended(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let read = socket.read(&mut [0; 1024]);
    socket.set_nonblocking(false).unwrap();
    !matches!(read, Err(err) if err.kind() == ErrorKind::WouldBlock)
}

/// Every connection is two descriptors of this process.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

#[test]
fn those_who_were_there_first_make_room() {
    raise_open_files();
    let served = Served::new();
    let mut strangers: Vec<TcpStream> = (0..limits::CONNECTIONS_MAX + 6)
        .map(|_| served.write(b""))
        .collect();
    served.ok("ListClusters", json!({}));
    // One for each that came after the last place was taken.
    for oldest in strangers.iter_mut().take(6) {
        while !has_ended(oldest) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let newest = strangers.last_mut().unwrap();
    assert!(!has_ended(newest));
}

/// Whether a signature holds is found when the whole body is there.
#[test]
fn bodies_of_strangers_make_room() {
    raise_open_files();
    let served = Served::new();
    let body = vec![b' '; limits::REQUEST_BYTES_MAX - 1];
    let whole = served.signed(LIST, "ecs", &body);
    let unfinished = &whole[..whole.len() - 1];
    let count = limits::HELD_BYTES_MAX / limits::REQUEST_BYTES_MAX + 8;
    let mut strangers: Vec<TcpStream> = (0..count).map(|_| served.write(unfinished)).collect();
    let answer = Answer::read(&mut served.write(&served.signed(LIST, "ecs", &[b' '; 65_536])));
    assert_ne!(answer.refusal().1, "ThrottlingException");
    let mut last = strangers.pop().unwrap();
    while strangers
        .iter_mut()
        .filter_map(|it| has_ended(it).then_some(()))
        .count()
        < 8
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    // Who came last is still there, and is answered.
    last.write_all(&whole[whole.len() - 1..]).unwrap();
    assert_eq!(Answer::read(&mut last).status, 200);
}

/// With a key it would keep a place and a file for as long as it likes.
#[test]
fn an_upload_of_a_byte_now_and_then_is_cut() {
    let served = Served::with_pace(UploadPace {
        bytes: 1_024,
        time: Duration::from_millis(300),
    });
    let whole = served.signed("Windlass.LoadImage", "ecs", &[b'x'; 100_000]);
    let body = whole.len() - 100_000;
    let mut upload = served.write(&whole[..body]);
    let mut sent = body;
    while served.machine.uploads() == 0 {
        std::thread::yield_now();
    }
    while served.machine.uploads() > 0 {
        upload.write_all(&whole[sent..=sent]).unwrap();
        sent += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    upload.write_all(&whole[sent..]).unwrap();
    let refused = Answer::read(&mut upload);
    assert_eq!(refused.refusal(), (400, "SerializationException"));
    assert!(refused.text().contains("too slow"), "{}", refused.text());
    assert!(sent - body < 100_000 && served.machine.loaded().is_empty());
}
