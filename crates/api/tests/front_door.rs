//! The front door as a stranger meets it: bytes on a socket, against the real listener and a leader
//! with a store in memory. Every request that is refused must also have changed nothing.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use windlass_api::local::{
    Answered, ImageName, ImageSummary, ImageUsage, LoadedImages, Local, LocalError, LogLine,
    LogQuery, MachineFigures, PrunedImages,
};
use windlass_api::{AccessKey, Keys, limits};
use windlass_model::arn::Scope;
use windlass_server::{Leader, clock::SystemClock};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const CREATE: &str = "AmazonEC2ContainerServiceV20141113.CreateCluster";
const LIST: &str = "AmazonEC2ContainerServiceV20141113.ListClusters";
/// Far beyond what an answer takes; what it bounds is a test that would hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine that counts what it is asked to load.
struct Machine {
    uploads: tempfile::TempDir,
    loads: AtomicUsize,
}

fn absent<'a, T: Send + 'a>() -> Answered<'a, T> {
    Box::pin(async { Err(LocalError::NotFound("nothing here".into())) })
}

impl Local for Machine {
    fn list_images(&self) -> Answered<'_, Vec<ImageSummary>> {
        absent()
    }
    fn load_image(&self, _archive: PathBuf, _name: Option<String>) -> Answered<'_, LoadedImages> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(LoadedImages::default()) })
    }
    fn tag_image(&self, _image: String, _name: String) -> Answered<'_, ImageName> {
        absent()
    }
    fn prune_images(&self, _all: bool) -> Answered<'_, PrunedImages> {
        absent()
    }
    fn image_usage(&self) -> Answered<'_, ImageUsage> {
        absent()
    }
    fn pull_image(&self, _reference: String) -> Answered<'_, ImageName> {
        absent()
    }
    fn login(&self, _: String, _: String, _: String) -> Answered<'_, ()> {
        absent()
    }
    fn logout(&self, _: String) -> Answered<'_, ()> {
        absent()
    }
    fn remove_image(&self, _reference: String) -> Answered<'_, ()> {
        absent()
    }
    fn import_rootfs(&self, _name: String, _directory: PathBuf) -> Answered<'_, ImageName> {
        absent()
    }
    fn read_logs(
        &self,
        _query: LogQuery,
    ) -> Answered<'_, mpsc::Receiver<std::io::Result<LogLine>>> {
        absent()
    }
    fn figures(&self) -> Answered<'_, MachineFigures> {
        Box::pin(async { Ok(MachineFigures::default()) })
    }
    fn upload_dir(&self) -> &Path {
        self.uploads.path()
    }
}

/// A served door; it ends with the test.
struct Bed {
    address: SocketAddr,
    machine: Arc<Machine>,
    _stop: watch::Sender<bool>,
    _runtime: tokio::runtime::Runtime,
}

impl Bed {
    fn new() -> Bed {
        let (leader, handle) = Leader::open(windlass_server::Options {
            store: Box::new(windlass_store::Memory::default()),
            clock: Box::new(SystemClock::new()),
            term: 1,
        })
        .unwrap();
        std::thread::spawn(move || leader.run());
        let machine = Arc::new(Machine {
            uploads: tempfile::tempdir().unwrap(),
            loads: AtomicUsize::new(0),
        });
        let options = windlass_api::Options {
            scope: Scope {
                region: "us-east-1".into(),
                account: "000000000000".into(),
            },
            leader: handle,
            local: machine.clone(),
            keys: Keys::new([AccessKey {
                id: "AKIAEXAMPLE".into(),
                secret: SECRET.into(),
                session_token: None,
                user: "admin".into(),
                created_ms: None,
                imported: false,
            }]),
            upload_pace: windlass_api::UploadPace::default(),
            page_key: [7; 32],
            backup_label: b"label".to_vec(),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(windlass_api::serve(listener, options, stopped));
        Bed {
            address,
            machine,
            _stop: stop,
            _runtime: runtime,
        }
    }

    /// Everything that comes back until the server closes.
    fn send(&self, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // A server that refuses early may close before it has read all.
        let _ = socket.write_all(bytes);
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match socket.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => answer.extend_from_slice(&piece[..length]),
                Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => {
                    let answer = String::from_utf8_lossy(&answer);
                    panic!("not closed after {answer:?}")
                }
                Err(_) => break,
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn call(&self, request: &Request) -> String {
        self.send(&request.bytes())
    }

    fn clusters(&self) -> String {
        let answer = self.call(&Request::new(LIST, b"{}"));
        assert_eq!(status(&answer), 200, "{answer}");
        answer
    }
}

fn status(answer: &str) -> u16 {
    answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .unwrap_or(0)
}

fn refused(answer: &str) -> bool {
    (400..500).contains(&status(answer))
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// A request to sign. Doubled headers are signed as well, so that only being doubled is wrong.
#[derive(Clone)]
struct Request {
    path: String,
    canonical_query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// What the signature says of the body; its digest when absent.
    body_digest: Option<String>,
    framing: String,
}

impl Request {
    fn new(target: &str, body: &[u8]) -> Request {
        let now = jiff::Timestamp::now()
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string();
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Request {
            path: "/".into(),
            canonical_query: String::new(),
            headers: vec![
                header("content-type", "application/x-amz-json-1.1"),
                header("host", "windlass.test"),
                header("x-amz-date", &now),
                header("x-amz-target", target),
            ],
            body: body.to_vec(),
            body_digest: None,
            framing: format!("content-length: {}\r\n", body.len()),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn authorization(&self) -> String {
        let mut names: Vec<String> = self
            .headers
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect();
        names.sort();
        names.dedup();
        let canonical: String = names
            .iter()
            .map(|name| {
                let same = self
                    .headers
                    .iter()
                    .filter(|(other, _)| other.eq_ignore_ascii_case(name));
                let values: Vec<&str> = same.map(|(_, value)| value.as_str()).collect();
                format!("{name}:{}\n", values.join(","))
            })
            .collect();
        let date = &self.headers[2].1;
        let day = &date[..8];
        let signed = names.join(";");
        let digest = self
            .body_digest
            .clone()
            .unwrap_or_else(|| hex::encode(Sha256::digest(&self.body)));
        let path = self.path.split('?').next().unwrap();
        let query = &self.canonical_query;
        let request = format!("POST\n{path}\n{query}\n{canonical}\n{signed}\n{digest}");
        let scope = format!("{day}/us-east-1/ecs/aws4_request");
        let request_digest = hex::encode(Sha256::digest(request));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{request_digest}");
        let mut key = mac(format!("AWS4{SECRET}").as_bytes(), day.as_bytes());
        for part in ["us-east-1", "ecs", "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        let signature = hex::encode(mac(&key, text.as_bytes()));
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/{scope}, SignedHeaders={signed}, \
             Signature={signature}"
        )
    }

    fn head(&self) -> String {
        let mut head = format!("POST {} HTTP/1.1\r\n", self.path);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + &format!("authorization: {}\r\n", self.authorization())
    }

    fn bytes(&self) -> Vec<u8> {
        let head = format!("{}connection: close\r\n{}\r\n", self.head(), self.framing);
        [head.as_bytes(), &self.body].concat()
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }
}

fn create(name: &str) -> Request {
    Request::new(CREATE, format!("{{\"clusterName\":\"{name}\"}}").as_bytes())
}

#[test]
fn ambiguous_requests_are_refused() {
    let bed = Bed::new();
    let answer = bed.call(&create("good"));
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("content-length: "), "{answer}");
    let good = || create("bad");
    let query = |query: &str, canonical: &str| Request {
        path: format!("/?{query}"),
        canonical_query: canonical.into(),
        ..good()
    };
    let date = good().headers[2].1.clone();
    let signed = [
        ("two targets", good().with("x-amz-target", LIST)),
        ("two spellings", good().with("X-Amz-Target", CREATE)),
        ("two hosts", good().with("host", "other.test")),
        ("two types", good().with("content-type", "text/plain")),
        ("two dates", good().with("x-amz-date", &date)),
        (
            "two others",
            good().with("x-amz-x", "a").with("x-amz-x", "b"),
        ),
        (
            "a signature in the query too",
            query("X-Amz-Signature=ab", "X-Amz-Signature=ab"),
        ),
        (
            "a credential in the query, in disguise",
            query("%58-amz-credential=a", "X-amz-credential=a"),
        ),
    ];
    for (what, request) in signed {
        let answer = bed.call(&request);
        assert_eq!(status(&answer), 400, "{what}: {answer}");
        assert!(answer.contains("IncompleteSignature"), "{what}: {answer}");
    }
    let header = format!("authorization: {}\r\n", good().authorization());
    let twice = good()
        .text()
        .replace("authorization:", &format!("{header}authorization:"));
    assert_eq!(status(&bed.send(twice.as_bytes())), 400);
    let folded = good()
        .text()
        .replace("x-amz-target: ", "x-amz-target:\r\n ");
    assert_eq!(status(&bed.send(folded.as_bytes())), 400);
    // Credentials in the query alone are none.
    let alone = query("X-Amz-Signature=ab", "")
        .text()
        .replace("authorization:", "was:");
    let answer = bed.send(alone.as_bytes());
    assert!(answer.contains("MissingAuthenticationToken"), "{answer}");
    assert!(!bed.clusters().contains("cluster/bad"));
}

#[test]
fn the_signed_body_is_the_one_that_acts() {
    let bed = Bed::new();
    for mode in [
        "UNSIGNED-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    ] {
        let mut request = create("bad").with("x-amz-content-sha256", mode);
        request.body_digest = Some(mode.into());
        assert!(refused(&bed.call(&request)), "{mode}");
    }
    let mut other = create("bad");
    other.body_digest = Some(hex::encode(Sha256::digest(b"{}")));
    assert!(refused(&bed.call(&other)));
    // A target that was not signed, and others that were exchanged afterwards.
    let text = create("bad").text();
    let exchanged = Request::new(LIST, &create("bad").body).text();
    let unsigned = text.replace("x-amz-target", "x-amz-was");
    let added = format!("x-amz-target: {CREATE}\r\nx-amz-date:");
    for changed in [
        exchanged.replace("ListClusters", "CreateCluster"),
        unsigned.replace("x-amz-date:", &added),
        text.replace("\"bad\"", "\"bed\""),
        text.replace("POST / ", "POST // "),
        text.replace("POST / ", "POST /%2e "),
        text.replace("POST / ", "POST /?x "),
        text.replace("POST / ", "PUT / "),
    ] {
        let answer = bed.send(changed.as_bytes());
        assert!(refused(&answer), "{changed}: {answer}");
    }
    let clusters = bed.clusters();
    assert!(
        !clusters.contains("bad") && !clusters.contains("bed"),
        "{clusters}"
    );
}

/// The request in one chunk, with what follows the chunk's bytes.
fn chunked(request: &Request, tail: &str) -> Vec<u8> {
    let mut request = request.clone();
    request.framing = "transfer-encoding: chunked\r\n".into();
    let body = std::mem::take(&mut request.body);
    request.body_digest = Some(hex::encode(Sha256::digest(&body)));
    let mut bytes = request.bytes();
    bytes.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(tail.as_bytes());
    bytes
}

#[test]
fn bodies_are_bounded_and_strict() {
    let bed = Bed::new();
    let large = Request::new(CREATE, &vec![b' '; limits::BODY_BYTES_MAX + 1]);
    assert_eq!(status(&bed.call(&large)), 413);
    let end = "\r\n0\r\n\r\n";
    assert_eq!(status(&bed.send(&chunked(&create("pieces"), end))), 200);
    assert_eq!(status(&bed.send(&chunked(&large, end))), 413);
    // A trailer that names another operation is nothing.
    let trailer = format!("\r\n0\r\nx-amz-target: {LIST}\r\n\r\n");
    let answer = bed.send(&chunked(&create("trailer"), &trailer));
    assert!(answer.contains("cluster/trailer"), "{answer}");
    // A length of nothing before a body: what was signed has not arrived.
    let mut empty = create("bad");
    empty.framing = "content-length: 0\r\n".into();
    assert!(refused(&bed.call(&empty)));
    let deep = format!("{{\"tags\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    for body in [
        "{\"clusterName\":\"bad\",\"clusterName\":\"bad2\"}",
        "{\"clusterName\":\"bad\",\"x\":1,\"x\":2}",
        "{\"clusterName\":\"bad\\ud800\"}",
        "{\"clusterName\":\"bad\"} {}",
        "{\"clusterName\":\"bad\",}",
        "[\"bad\"]",
        &deep,
    ] {
        let answer = bed.call(&Request::new(CREATE, body.as_bytes()));
        assert_eq!(status(&answer), 400, "{body:.60}: {answer}");
    }
    assert!(!bed.clusters().contains("cluster/bad"));
}

/// Most clients read no answer before they have sent everything.
#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let bed = Bed::new();
    let long = vec![b' '; 16 << 20];
    let unsigned = format!(
        "POST / HTTP/1.1\r\nhost: windlass.test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        long.len()
    );
    let mut wrong_upload = Request::new("Windlass.LoadImage", &long);
    wrong_upload.body_digest = Some(hex::encode(Sha256::digest(b"another")));
    for (request, expected) in [
        (Request::new(CREATE, &long).bytes(), 413),
        ([unsigned.as_bytes(), &long].concat(), 400),
        (wrong_upload.bytes(), 400),
    ] {
        let mut socket = TcpStream::connect(bed.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&request).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert_eq!(status(&answer), expected, "{answer}");
    }
}

/// Framings whose end two readers might see at different places, with the bytes that follow.
fn framings(text: &str) -> Vec<(String, String)> {
    let length = text.len();
    let chunks = format!("{length:x}\r\n{text}\r\n0\r\n\r\n");
    let chunked = "transfer-encoding: chunked\r\n";
    let mut all = Vec::new();
    for header in [
        format!("content-length: {length}\r\n{chunked}"),
        format!("{chunked}content-length: {length}\r\n"),
        format!("{chunked}content-length: 0\r\n"),
        format!("{chunked}transfer-encoding: identity\r\n"),
        "transfer-encoding: chunked, identity\r\n".into(),
        "transfer-encoding: xchunked\r\n".into(),
        "transfer-encoding : chunked\r\n".into(),
        " transfer-encoding: chunked\r\n".into(),
        "transfer-encoding:\u{b}chunked\r\n".into(),
    ] {
        all.push((header, chunks.clone()));
    }
    for header in [
        "transfer-encoding: identity\r\n".into(),
        format!("content-length: {length}\r\ncontent-length: 0\r\n"),
        format!("content-length: {length}, {length}\r\n"),
        format!("content-length: +{length}\r\n"),
        format!("content-length: -{length}\r\n"),
        format!("content-length: 0x{length:x}\r\n"),
        format!("content-length: {length} 0\r\n"),
        format!("content-length : {length}\r\n"),
        "content-length: 18446744073709551616\r\n".into(),
        "content-length:\r\n".into(),
    ] {
        all.push((header, text.to_owned()));
    }
    for bytes in [
        format!("-{chunks}"),
        format!("0x{chunks}"),
        format!("1000000000000000{chunks}"),
        format!("{length:x}\n{text}\n0\n\n"),
    ] {
        all.push((chunked.into(), bytes));
    }
    all
}

#[test]
fn no_request_hides_in_another() {
    let bed = Bed::new();
    // Nobody signed it; and should it be met, the connection still ends.
    let hidden = format!(
        "POST / HTTP/1.1\r\nhost: windlass.test\r\nx-amz-target: {CREATE}\r\n\
         content-length: 24\r\nconnection: close\r\n\r\n{{\"clusterName\":\"hidden\"}}"
    );
    let request = create("first");
    let text = String::from_utf8(request.body.clone()).unwrap();
    for (at, (framing, sent)) in framings(&text).iter().enumerate() {
        let bytes = format!("{}{framing}\r\n{sent}{hidden}", request.head());
        let answer = bed.send(bytes.as_bytes());
        // Of those with two lengths, the one that the standard prefers counts, and nothing after it.
        let may_act = usize::from(at < 3);
        let acted = answer.matches("HTTP/1.1 200").count();
        assert!(acted <= may_act, "{framing:?} {sent:?}: {answer}");
        let answers = answer.matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{framing:?} {sent:?}: {answer}");
    }
    assert!(!bed.clusters().contains("hidden"));
}

#[test]
fn an_upload_is_what_was_signed() {
    let bed = Bed::new();
    let upload = |declared: &[u8], sent: &[u8]| {
        let digest = hex::encode(Sha256::digest(declared));
        let mut request =
            Request::new("Windlass.LoadImage", sent).with("x-amz-content-sha256", &digest);
        request.body_digest = Some(digest);
        request
    };
    let loads = || bed.machine.loads.load(Ordering::Relaxed);
    let left = || {
        std::fs::read_dir(bed.machine.uploads.path())
            .unwrap()
            .count()
    };
    assert!(refused(&bed.call(&upload(b"archive", b"another"))));
    let second = upload(b"archive", b"archive").with("x-amz-target", LIST);
    assert_eq!(status(&bed.call(&second)), 400);
    let mut undeclared = Request::new("Windlass.LoadImage", b"archive");
    undeclared.body_digest = Some("UNSIGNED-PAYLOAD".into());
    let undeclared = undeclared.with("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    assert_eq!(status(&bed.call(&undeclared)), 400);
    assert_eq!((loads(), left()), (0, 0));
    assert_eq!(status(&bed.call(&upload(b"archive", b"archive"))), 200);
    assert_eq!((loads(), left()), (1, 0));
}

/// What a page in a browser can send unasked: there is no signature, so nothing acts; and nothing in
/// the answer lets the page read it.
#[test]
fn a_browser_reaches_nothing() {
    let bed = Bed::new();
    for request in [
        "GET / HTTP/1.1\r\nhost: windlass.test\r\nconnection: close\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nhost: windlass.test\r\norigin: https://page.test\r\n\
         access-control-request-method: POST\r\nconnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: rebound.test\r\norigin: https://page.test\r\n\
         content-type: text/plain\r\ncontent-length: 2\r\ncookie: a=b\r\nconnection: close\r\n\r\n{}",
    ] {
        let answer = bed.send(request.as_bytes());
        assert!(refused(&answer), "{request}: {answer}");
        let lower = answer.to_ascii_lowercase();
        assert!(
            !lower.contains("access-control-") && !lower.contains("set-cookie"),
            "{answer}"
        );
    }
}

/// Connections are few enough to be counted: who holds one has to say something.
#[test]
fn silent_connections_are_closed() {
    let bed = Bed::new();
    let beginnings: [&[u8]; 4] = [
        b"",
        b"PRI * HTTP/2.0\r\n",
        b"POST / HTTP/1.1\r\nhost: wind",
        // All of the preface and empty settings: a connection without requests.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ];
    let sockets = beginnings.map(|bytes| {
        let mut socket = TcpStream::connect(bed.address).unwrap();
        socket.write_all(bytes).unwrap();
        socket
    });
    for (mut socket, said) in sockets.into_iter().zip(beginnings) {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let end = socket.read_to_end(&mut answer);
        let waited = matches!(&end, Err(err) if err.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!waited, "{:?}", String::from_utf8_lossy(said));
    }
    assert_eq!(status(&bed.call(&create("after"))), 200);
}
