//! Health and metrics, for this machine alone and without a name of anything that runs.

use super::served::{Answer, Served};
use serde_json::json;

fn get(served: &Served, path: &str, host: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    Answer::read(&mut served.write(request.as_bytes()))
}

#[test]
fn this_machine_asks_for_health_and_metrics() {
    let served = Served::with_node();
    served.ok("CreateCluster", json!({ "clusterName": "hushhush" }));
    served.call("DeleteCluster", json!({ "cluster": "none-such" }));
    let health = get(&served, "/healthz", "localhost:7737");
    assert_eq!((health.status, health.text().as_str()), (200, "ok\n"));
    let metrics = get(&served, "/metrics", "127.0.0.1");
    let text = metrics.text();
    for line in [
        "windlass_api_calls_total{operation=\"CreateCluster\",outcome=\"ok\"} 2",
        "windlass_api_calls_total{operation=\"DeleteCluster\",outcome=\"ClusterNotFoundException\"} 1",
        "windlass_api_call_duration_seconds_count{operation=\"CreateCluster\"} 2",
        "windlass_inbox_depth{share=\"calls\"} 0",
        "windlass_tasks{status=\"RUNNING\"} 0",
        "windlass_nodes{connected=\"true\"} 1",
        "windlass_clusters 2",
        "windlass_store_bytes 4096",
        "windlass_images 2",
        "windlass_image_bytes 8192",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
    for name in ["windlass_build_info{version=", "windlass_disk_free_bytes "] {
        assert!(
            text.lines().any(|it| it.starts_with(name)),
            "{name} in {text}"
        );
    }
    assert!(!text.contains("hushhush"), "{text}");
    let kind = metrics.header("content-type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(get(&served, "/metrics", "rebound.test").status, 403);
    // Nothing else is answered without a signature.
    for path in ["/", "/metrics/", "/healthz/x"] {
        assert_eq!(get(&served, path, "localhost").status, 400, "{path}");
    }
}

#[test]
fn calls_are_counted_by_what_they_ask_for() {
    let served = Served::with_node();
    for name in ["RemoveNode", "StopTask", "GetStatus"] {
        served.call_own(name, json!({}));
    }
    served.call_own("NoneSuch", json!({}));
    let text = get(&served, "/metrics", "localhost").text();
    let counts = |name: &str| {
        let line = format!("windlass_api_calls_total{{operation=\"{name}\",");
        text.lines().filter(|it| it.starts_with(&line)).count()
    };
    for name in ["RemoveNode", "StopTask", "GetStatus", "unknown"] {
        assert_eq!(counts(name), 1, "{name} in {text}");
    }
    assert!(!text.contains("NoneSuch"));
}
