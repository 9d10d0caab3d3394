//! A real registry with passwords and a certificate of its own.

use std::path::Path;
use std::process::Command;

use windlass_image::{Credentials, Error, Hosts, Logins, PullOptions, check_login};

use crate::build::*;
use crate::real_registry::RealRegistry;

fn openssl(folder: &Path, words: &str) {
    let mut command = Command::new("openssl");
    let done = command.current_dir(folder).args(words.split(' ')).output();
    let done = done.expect("install Debian's openssl for this test");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A private authority with a certificate for the registry, and one that signed itself.
fn certificates(folder: &Path) {
    let name = "-subj /CN=test";
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(
        folder,
        &format!("req -x509 {key} {name} -keyout ca.key -out ca.pem"),
    );
    openssl(
        folder,
        &format!("req {key} {name} -keyout signed.key -out signed.csr"),
    );
    std::fs::write(folder.join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        folder,
        "x509 -req -in signed.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out signed.pem",
    );
    let own = "-addext subjectAltName=IP:127.0.0.1 -keyout own.key -out own.pem";
    openssl(folder, &format!("req -x509 {key} {name} {own}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_its_own_certificate_and_passwords() {
    let place = Place::new();
    let folder = place.folder.path().to_path_buf();
    certificates(&folder);
    let written = Command::new("htpasswd")
        .args(["-Bbn", "me", "s3cret"])
        .output()
        .expect("install Debian's apache2-utils for this test");
    std::fs::write(folder.join("passwords"), written.stdout).unwrap();
    let archive = folder.join("app.tar");
    let layers = [gzip(&Tar::default().file("a", "1").end())];
    std::fs::write(&archive, docker_archive("app:v1", &layers)).unwrap();
    for (key, trusted) in [("signed", "ca.pem"), ("own", "own.pem")] {
        let at = |file: &str| folder.join(file).display().to_string();
        let http = format!(
            "  tls:\n    certificate: {}\n    key: {}\n",
            at(&format!("{key}.pem")),
            at(&format!("{key}.key"))
        );
        let parts = format!(
            "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
            at("passwords")
        );
        let registry = RealRegistry::with(&http, &parts);
        registry.push(
            &archive,
            "app:v1",
            &["--dest-tls-verify=false", "--dest-creds=me:s3cret"],
        );
        let host = format!("127.0.0.1:{}", registry.port);
        let reference = name(&format!("{host}/app:v1"));
        let pem = std::fs::read(folder.join(trusted)).unwrap();
        let hosts = Hosts::new([], [(host.clone(), pem)]).unwrap();
        let logins = Logins::new(folder.join(format!("{key}.json")));
        let options = PullOptions {
            hosts: hosts.clone(),
            logins: Some(logins.clone()),
            ..PullOptions::default()
        };
        // Without a login, and with a wrong one.
        let error = place.store.pull(&reference, options.clone()).await;
        let error = error.unwrap_err();
        assert!(
            error.to_string().contains("access denied"),
            "{key}: {error}"
        );
        let given = |password: &str| Credentials {
            username: "me".into(),
            password: password.into(),
        };
        let wrong = check_login(&host, given("wr0ng"), &hosts)
            .await
            .unwrap_err();
        assert!(matches!(wrong, Error::Registry { .. }), "{key}: {wrong:?}");
        assert!(!wrong.detail().contains("wr0ng"), "{wrong}");
        check_login(&host, given("s3cret"), &hosts).await.unwrap();
        logins.keep(&host, &given("s3cret")).unwrap();
        let pulled = place.store.pull(&reference, options.clone()).await.unwrap();
        assert_eq!(
            place
                .store
                .ask_digest(&reference, options.clone())
                .await
                .unwrap(),
            pulled.digest()
        );
        // Another's certificate is not trusted.
        let pem = std::fs::read(folder.join(match key {
            "own" => "ca.pem",
            _ => "own.pem",
        }));
        let options = PullOptions {
            hosts: Hosts::new([], [(host, pem.unwrap())]).unwrap(),
            ..options
        };
        let error = place
            .store
            .ask_digest(&reference, options)
            .await
            .unwrap_err();
        assert!(error.is_unreachable(), "{key}: {error:?}");
    }
}
