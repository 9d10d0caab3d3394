//! Debian's docker-registry.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Debian's docker-registry on a port of its own, ended when dropped.
pub(crate) struct RealRegistry {
    child: Child,
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
}

impl RealRegistry {
    pub(crate) fn start() -> Self {
        Self::with("", "")
    }

    /// With more settings of its `http` part, and more parts.
    pub(crate) fn with(http: &str, parts: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{http}{parts}",
            folder.path().join("data").display()
        );
        let path = folder.path().join("settings.yml");
        std::fs::write(&path, settings).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("install Debian's docker-registry and skopeo for this test");
        let registry = Self {
            child,
            port,
            _folder: folder,
        };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return registry;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry does not listen");
    }

    /// Copies an archive of `docker save` into it.
    pub(crate) fn push(&self, archive: &Path, name: &str, flags: &[&str]) {
        let pushed = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet"])
            .args(flags)
            .arg(format!("docker-archive:{}", archive.display()))
            .arg(format!("docker://127.0.0.1:{}/{name}", self.port))
            .status()
            .expect("install Debian's docker-registry and skopeo for this test");
        assert!(pushed.success());
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
