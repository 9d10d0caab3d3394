//! A registry of fixed answers, for what no real one does on request.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::build::*;

/// A registry of a few fixed answers that keeps what it was asked.
pub(crate) struct Fake {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

/// Status line, headers and body; a body shorter than promised means that the line is cut.
pub(crate) type Answer = (String, Vec<u8>);

impl Fake {
    pub(crate) fn start(answer: impl Fn(&Asked, usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let Some(request) = read_request(&stream) else {
                    continue;
                };
                let before = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.iter().filter(|a| a.path == request.path).count() - 1
                };
                let (head, body) = answer(&request, before);
                let mut stream = stream;
                let _ = stream
                    .write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
                if request.method != "HEAD" {
                    let _ = stream.write_all(&body);
                }
            }
        });
        Self { port, asked }
    }

    pub(crate) fn asked(&self, part: &str) -> Vec<Asked> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|a| a.path.contains(part))
            .cloned()
            .collect()
    }
}

fn read_request(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ').map(str::to_string);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((key, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(key.to_ascii_lowercase(), value.to_string());
    }
    Some(Asked {
        method,
        path,
        headers,
    })
}

pub(crate) fn full(media_type: &str, body: &[u8]) -> Answer {
    (
        format!(
            "200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {}",
            body.len()
        ),
        body.to_vec(),
    )
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A one-layer image: manifest, configuration, layer.
pub(crate) fn image() -> (String, String, Vec<u8>) {
    let noise: Vec<u8> = (0..300_000u64)
        .flat_map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes())
        .collect();
    let header = Header {
        name: b"noise",
        size: noise.len() as u64,
        ..Header::default()
    };
    let layer = gzip(&Tar::default().entry(&header, &noise).end());
    let config = config(std::slice::from_ref(&layer));
    let descriptor = |bytes: &[u8]| serde_json::json!({"mediaType": "x", "digest": digest(bytes), "size": bytes.len()});
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor(config.as_bytes()), "layers": [descriptor(&layer)],
    });
    (manifest.to_string(), config, layer)
}
