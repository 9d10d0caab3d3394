//! The real images that scripts/sample-images.sh builds, when they were built.

use std::path::PathBuf;

use windlass_image::LoadOptions;

use crate::build::*;

#[test]
fn sample_images_load() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.cache/images");
    let place = Place::new();
    for (image, command, file) in [
        ("nginx", "nginx", "usr/sbin/nginx"),
        ("redis", "redis-server", "usr/bin/redis-check-rdb"),
        ("busybox", "sh", "usr/bin/busybox"),
    ] {
        let archive = folder.join(format!("{image}.tar"));
        if !archive.exists() {
            eprintln!(
                "{} is not there; scripts/sample-images.sh makes it",
                archive.display()
            );
            continue;
        }
        let start = std::time::Instant::now();
        let options = LoadOptions::default();
        let loaded = place
            .store
            .load_archive_file(&archive, &options, &|_| {})
            .unwrap();
        let took = start.elapsed();
        assert_eq!(loaded.images.len(), 2, "{loaded:?}");
        let found = place.store.resolve(&name(image)).unwrap();
        assert_eq!(found.config.cmd[0], command);
        assert!(found.layers[0].join(file).exists());
        eprintln!(
            "{image}: {} KiB in {took:?}, {:.0} MB/s uncompressed",
            found.size_bytes >> 10,
            found.size_bytes as f64 / 1e6 / took.as_secs_f64()
        );
    }
}
