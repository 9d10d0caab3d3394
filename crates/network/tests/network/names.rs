//! Questions of many at the name forwarder.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use windlass_network::{Network, limits};

use crate::machine::{Task, on_machine, within};

const FORWARDER: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 77, 0, 1), 53);
/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// A resolver of the host that answers what it is asked, but for questions that begin with `z`: those
/// are never answered.
fn resolver() {
    let at = SocketAddr::from(([127, 0, 0, 53], 53));
    let udp = UdpSocket::bind(at).expect("binds");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            if buffer[0] != b'z' {
                let _ = udp.send_to(&buffer[..length], peer);
            }
        }
    });
    let tcp = TcpListener::bind(at).expect("binds");
    std::thread::spawn(move || {
        for client in tcp.incoming().flatten() {
            std::thread::spawn(move || {
                let mut client = client;
                let mut buffer = [0; 512];
                while let Ok(length @ 1..) = client.read(&mut buffer) {
                    let _ = client.write_all(&buffer[..length]);
                }
            });
        }
    });
}

fn by_udp() -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.connect(FORWARDER)?;
    let begun = std::time::Instant::now();
    let mut buffer = [0; 512];
    loop {
        socket.send(b"a question")?;
        match socket.recv(&mut buffer) {
            Err(_) if begun.elapsed() < PATIENCE => {}
            answer => return answer.map(|length| buffer[..length].to_vec()),
        }
    }
}

fn by_tcp() -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&FORWARDER.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"a question")?;
    let mut buffer = [0; 512];
    stream
        .read(&mut buffer)
        .map(|length| buffer[..length].to_vec())
}

#[test]
fn one_that_asks_much_starves_no_other() {
    on_machine(|machine| async move {
        resolver();
        let conf = machine.folder.path().join("resolv.conf");
        std::fs::write(&conf, "nameserver 127.0.0.53\n").expect("writes");
        let mut options = machine.options("test");
        options.resolv_conf = conf;
        let network = Network::open(options).await.expect("opens");
        let loud = Task::start(&network, "loud", &[]).await;
        let quiet = Task::start(&network, "quiet", &[]).await;
        let (loud_path, quiet_path) = (loud.path.clone(), quiet.path.clone());
        let tried = tokio::task::spawn_blocking(move || {
            // More than all have places for: questions without answer, and connections that say nothing.
            let held = within(Some(&loud_path), || {
                let udp = UdpSocket::bind(("0.0.0.0", 0)).expect("binds");
                for _ in 0..2 * limits::DNS_QUESTIONS {
                    udp.send_to(b"zzz", FORWARDER).expect("sends");
                }
                let idle: Vec<TcpStream> = (0..2 * limits::DNS_CONNECTIONS)
                    .map(|_| TcpStream::connect(FORWARDER).expect("connects"))
                    .collect();
                (udp, idle)
            });
            let udp = within(Some(&quiet_path), by_udp).expect("an answer over UDP");
            let tcp = within(Some(&quiet_path), by_tcp).expect("an answer over TCP");
            assert_eq!((&*udp, &*tcp), (&b"a question"[..], &b"a question"[..]));
            // Its own share serves the loud one itself: what it asked first makes way.
            let own = within(Some(&loud_path), by_tcp).expect("an answer over TCP");
            assert_eq!(own, b"a question");
            // Connections that say nothing are ended, all of them.
            for mut idle in held.1 {
                idle.set_read_timeout(Some(PATIENCE)).expect("sets");
                let mut byte = [0];
                let ended = match idle.read(&mut byte) {
                    Ok(0) => true,
                    Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
                    Ok(_) => false,
                };
                assert!(ended, "an idle connection lives on");
            }
        });
        tried.await.expect("no panic");
        drop((loud, quiet));
        network.down().await.expect("goes down");
    });
}
