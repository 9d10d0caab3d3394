//! What is answered without a signature, on the machine itself alone: `/healthz` and `/metrics`.
//!
//! A page in a browser on this machine may send such a request too, under a name of its own that
//! leads here; so the host that the request names has to be this machine, and what a proxy passes on
//! is a stranger's.

use crate::connection::Connection;
use crate::door::{Answer, Door, respond};
use crate::limits;
use crate::metrics::{Exposition, TEXT};
use crate::places::Counts;
use http::request::Parts;
use http::{HeaderMap, Method, Version};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use windlass_server::{Figures, Refused};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Health,
    Metrics,
}

/// The page that a request asks for; every other request has to be signed.
pub(crate) fn page(parts: &Parts) -> Option<Page> {
    if ![Method::GET, Method::HEAD].contains(&parts.method) {
        return None;
    }
    match parts.uri.path() {
        "/healthz" => Some(Page::Health),
        "/metrics" => Some(Page::Metrics),
        _ => None,
    }
}

/// Metrics of a moment ago, so that asking for them often costs nothing.
pub(crate) type Cached = tokio::sync::Mutex<Option<(Instant, String)>>;

pub(crate) async fn answer(
    door: &Door,
    page: Page,
    parts: &Parts,
    connection: &Connection,
) -> Answer {
    let (status, text) = match may_ask(connection.peer(), parts) {
        Err(why) => (403, format!("{why}\n")),
        Ok(()) => match page {
            Page::Health => health(door).await,
            Page::Metrics => (200, metrics(door).await),
        },
    };
    let mut answer = respond(status, TEXT, text.into_bytes());
    // A stranger's connection is not kept for long, and a client finds out at its next request.
    if parts.version <= Version::HTTP_11 {
        let close = http::HeaderValue::from_static("close");
        answer.headers_mut().insert(http::header::CONNECTION, close);
    }
    answer
}

fn may_ask(peer: SocketAddr, parts: &Parts) -> Result<(), &'static str> {
    if !peer.ip().to_canonical().is_loopback() {
        return Err("health and metrics are for clients on this machine, over loopback");
    }
    let is_passed_on = |name: &str| parts.headers.contains_key(name);
    if ["forwarded", "x-forwarded-for", "via"]
        .into_iter()
        .any(is_passed_on)
    {
        return Err("health and metrics are not for clients of a proxy");
    }
    if parts.headers.contains_key(http::header::ORIGIN) {
        return Err("health and metrics are not for pages in a browser");
    }
    match names_loopback(&parts.headers, parts) {
        true => Ok(()),
        false => Err("health and metrics are asked for at localhost or a loopback address"),
    }
}

/// Whether the host that is asked is this machine by a name that nobody else can give it.
fn names_loopback(headers: &HeaderMap, parts: &Parts) -> bool {
    let mut hosts = headers.get_all(http::header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        // HTTP/2 has the authority instead.
        (None, None) => parts.uri.authority().map(|authority| authority.as_str()),
        _ => None,
    };
    let authority = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    authority.is_some_and(|authority| {
        let name = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let address: Option<IpAddr> = name.parse().ok();
        address.map_or(name.eq_ignore_ascii_case("localhost"), |it| {
            it.is_loopback()
        })
    })
}

/// Whether the control plane takes turns. A disk that is nearly full is told and no reason to start
/// it again.
async fn health(door: &Door) -> (u16, String) {
    match tokio::time::timeout(limits::HEALTH_TIMEOUT, door.leader.room()).await {
        Ok(Ok(())) => (200, "ok\n".to_owned()),
        Ok(Err(low @ Refused::DiskLow { .. })) => (200, format!("ok, but {low}\n")),
        Ok(Err(refused)) => (503, format!("{refused}\n")),
        Err(_) => (503, "the control plane takes no turn\n".to_owned()),
    }
}

async fn metrics(door: &Door) -> String {
    let mut cached = door.cached.lock().await;
    if let Some((at, text)) = cached.as_ref()
        && at.elapsed() < limits::METRICS_KEPT
    {
        return text.clone();
    }
    let mut text = Exposition::default();
    text.head("windlass_build_info", "gauge", "The version that runs.");
    let version = env!("CARGO_PKG_VERSION");
    text.line("windlass_build_info", &[("version", version)], 1);
    door.metrics.render(&mut text);
    places(&door.places.counts(), &mut text);
    if let Ok(figures) = door.leader.figures().await {
        control_plane(&figures, &mut text);
    }
    if let Ok(machine) = door.local.figures().await {
        text.gauge(
            "windlass_store_bytes",
            "Bytes of the store's files.",
            machine.store_bytes,
        );
        text.gauge("windlass_images", "Images by name.", machine.images);
        text.gauge(
            "windlass_image_bytes",
            "Bytes of all images, layers that several share counted for each.",
            machine.image_bytes,
        );
    }
    *cached = Some((Instant::now(), text.text.clone()));
    text.text
}

fn places(counts: &Counts, text: &mut Exposition) {
    let name = "windlass_api_connections";
    text.head(
        name,
        "gauge",
        "Open connections, by whether a signature held on them.",
    );
    text.line(name, &[("authenticated", "true")], counts.authenticated);
    text.line(name, &[("authenticated", "false")], counts.strangers);
    let name = "windlass_api_connections_ended_for_others_total";
    text.head(name, "counter", "Connections that had to go for another.");
    text.line(name, &[], counts.let_go);
    text.gauge(
        "windlass_api_request_bytes",
        "Bytes that requests hold.",
        counts.bytes,
    );
}

fn control_plane(figures: &Figures, text: &mut Exposition) {
    let name = "windlass_inbox_depth";
    text.head(name, "gauge", "What waits for a turn of the control plane.");
    text.line(name, &[("share", "calls")], figures.calls_waiting);
    text.line(name, &[("share", "reports")], figures.reports_waiting);
    let name = "windlass_turns_total";
    text.head(
        name,
        "counter",
        "Turns that were committed since the store was made.",
    );
    text.line(name, &[], figures.turns);
    let census = &figures.census;
    let name = "windlass_tasks";
    text.head(name, "gauge", "Tasks that are known, by their last status.");
    for (status, count) in &census.tasks {
        text.line(name, &[("status", status.as_str())], count);
    }
    let name = "windlass_nodes";
    text.head(
        name,
        "gauge",
        "Nodes, by whether their agents are connected.",
    );
    text.line(name, &[("connected", "true")], census.nodes_connected);
    text.line(name, &[("connected", "false")], census.nodes_disconnected);
    text.gauge("windlass_clusters", "Clusters.", census.clusters);
    text.gauge(
        "windlass_container_instances",
        "Container instances.",
        census.container_instances,
    );
    text.gauge(
        "windlass_task_definitions",
        "Revisions of task definitions.",
        census.task_definitions,
    );
    if let Some(space) = &figures.space {
        let name = "windlass_disk_free_bytes";
        text.gauge(
            name,
            "Free on the disk of the data folder.",
            space.free_bytes,
        );
        let name = "windlass_disk_reserve_bytes";
        let help = "Below so much nothing is added.";
        text.gauge(name, help, space.reserve_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn asked(peer: &str, host: &str, header: Option<(&str, &str)>) -> bool {
        let mut request = Request::get("/metrics").header("host", host);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        may_ask(peer.parse().unwrap(), &parts).is_ok()
    }

    #[test]
    fn only_this_machine_by_its_own_name_asks() {
        let local = "127.0.0.1:5";
        for host in [
            "127.0.0.1:7737",
            "localhost",
            "LOCALHOST:1",
            "[::1]:7737",
            "127.8.9.1",
        ] {
            assert!(asked(local, host, None), "{host}");
        }
        assert!(asked("[::1]:5", "localhost", None));
        assert!(asked("[::ffff:127.0.0.1]:5", "localhost", None));
        // Names that others may let lead here.
        for host in [
            "rebound.test",
            "localhost.rebound.test",
            "10.0.0.5",
            "0.0.0.0",
            "",
            "a b",
        ] {
            assert!(!asked(local, host, None), "{host}");
        }
        for peer in ["10.0.0.5:1", "[2001:db8::1]:1", "[::ffff:10.0.0.5]:1"] {
            assert!(!asked(peer, "localhost", None), "{peer}");
        }
        for header in [
            ("origin", "http://localhost:3000"),
            ("x-forwarded-for", "10.0.0.5"),
        ] {
            assert!(!asked(local, "localhost", Some(header)), "{header:?}");
        }
    }
}
