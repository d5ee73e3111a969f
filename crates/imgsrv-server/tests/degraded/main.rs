//! Full and read-only disks: the real binary on a small file system.

mod disk;
mod site;

use disk::{Disk, argument_inside, inside_namespaces};
use imgsrv_testkit::services::Postgres;
use site::{ARGUMENTS, BINARY, Site};

/// A test in namespaces of its own.
macro_rules! on_a_small_disk {
    ($name:ident, $run:expr) => {
        #[test]
        fn $name() {
            if inside_namespaces(stringify!($name), "").is_some() {
                let run: fn(Disk) = $run;
                run(Disk::mount());
            }
        }
    };
}

on_a_small_disk!(a_server_starts_on_a_full_disk_and_recovers, |disk| {
    restarts(&disk, "storage-full", 507, false);
});

on_a_small_disk!(a_server_that_was_killed_starts_on_a_full_disk_and_recovers, |disk| {
    restarts(&disk, "storage-full", 507, true);
});

on_a_small_disk!(a_server_starts_on_a_read_only_disk_and_recovers, |disk| {
    restarts(&disk, "storage-read-only", 503, false);
});

on_a_small_disk!(a_server_that_was_killed_starts_on_a_read_only_disk_and_recovers, |disk| {
    restarts(&disk, "storage-read-only", 503, true);
});

/// Stops or kills a server, and starts it again while the disk refuses writes for `reason`.
fn restarts(disk: &Disk, reason: &str, status: u16, is_killed: bool) {
    let mut site = Site::publish(disk);
    if is_killed {
        site.server.kill();
    } else {
        assert_eq!(site.server.terminate(), Some(0));
        std::fs::remove_file(disk.path().join("lock")).expect("removed");
    }
    disk.refuse_writes(reason);
    site.start();
    site.serves_reads_alone(reason, status);
    if !is_killed {
        // The catalog has no log.
        let refused = site.run(&["auth", "bootstrap", "--data-dir", disk.path().to_str().expect("a path")]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("read-only, because"), "{said}");
    }
    disk.accept_writes(reason);
    site.recovers();
    assert!(disk.path().join("lock").exists());
}

on_a_small_disk!(a_running_server_reports_a_full_disk_until_it_has_space, |disk| {
    let mut site = Site::publish(&disk);
    disk.fill();
    site.server.log_with("storage accepts no writes");
    site.serves_reads_alone("storage-full", 507);
    disk.free();
    site.recovers();
});

on_a_small_disk!(two_servers_never_share_a_read_only_folder, |disk| {
    let mut site = Site::publish(&disk);
    for is_lock_removed in [false, true] {
        assert_eq!(site.server.terminate(), Some(0));
        if is_lock_removed {
            std::fs::remove_file(disk.path().join("lock")).expect("removed");
        }
        disk.make_read_only();
        site.start();
        assert!(refusal(&disk).contains("another imgsrv server is using"));
        disk.make_writable();
        site.recovers();
        assert!(refusal(&disk).contains("another imgsrv server is using"));
    }
});

on_a_small_disk!(a_first_start_on_an_unwritable_disk_says_why_it_fails, |disk| {
    let catalog = disk.path().join("catalog.db").display().to_string();
    disk.fill();
    let full = refusal(&disk);
    assert!(full.contains(&format!("cannot create the catalog {catalog}: the disk is full")), "{full}");
    disk.free();
    disk.make_read_only();
    let read_only = refusal(&disk);
    assert!(read_only.contains(&format!("cannot create the catalog {catalog}: the file system is read-only")));
});

on_a_small_disk!(changes_that_only_the_log_has_are_never_ignored, |disk| {
    let mut site = Site::publish(&disk);
    site.server.kill();
    assert!(std::fs::metadata(disk.path().join("catalog.db-wal")).is_ok_and(|log| log.len() > 0));
    std::fs::remove_file(disk.path().join("catalog.db-shm")).expect("removed");
    disk.make_read_only();
    let refused = refusal(&disk);
    assert!(refused.contains("its latest changes are in") && refused.contains("catalog.db-wal"), "{refused}");
    disk.make_writable();
    site.start();
    site.serves_reads();
});

on_a_small_disk!(no_write_is_acknowledged_while_the_catalog_is_removed_or_replaced, |disk| {
    let site = Site::publish(&disk);
    let (file, aside) = (disk.path().join("catalog.db"), disk.path().join("aside.db"));
    std::fs::rename(&file, &aside).expect("renamed");
    for name in ["removed", "replaced"] {
        if name == "replaced" {
            std::fs::copy(&aside, &file).expect("copied");
        }
        assert_eq!(site.create_named_image(name), (503, "unavailable".to_owned()));
        assert_eq!(site.readiness(), 503);
        site.serves_reads();
    }
    std::fs::rename(&aside, &file).expect("renamed");
    for name in ["removed", "replaced"] {
        assert_eq!(site.create_named_image(name).0, 201, "what was refused is not stored: {}", site.server.log());
    }
});

on_a_small_disk!(a_limit_of_file_sizes_counts_as_a_full_disk, |disk| {
    let mut site = Site::publish(&disk);
    let full = || (507, "storage-full".to_owned());
    site.limit_file_size("6291456");
    assert_eq!(site.send_part_of(vec![7; 8 << 20]), full());
    site.limit_file_size("4096");
    assert_eq!(site.create_named_image("limited"), full());
    site.serves_reads();
    site.limit_file_size("unlimited");
    assert_eq!(site.create_image(), 201, "{}", site.server.log());
    assert_eq!(site.send_part_of(vec![7; 8 << 20]).0, 200);
});

/// What a server says that does not start on the disk.
fn refusal(disk: &Disk) -> String {
    let started = imgsrv_testkit::Process::try_start(BINARY, disk.path(), &ARGUMENTS, &[]);
    started.err().expect("it does not start")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_blob_folder_is_unwritable_serves_reads_and_recovers() {
    let name = "a_node_whose_blob_folder_is_unwritable_serves_reads_and_recovers";
    let test = |url: String| {
        let Some(url) = inside_namespaces(name, &url) else { return };
        let disk = Disk::mount();
        let mut site = Site::publish_on_postgres(&disk, &url);
        for (reason, status) in [("storage-full", 507), ("storage-read-only", 503)] {
            assert_eq!(site.server.terminate(), Some(0));
            std::fs::remove_file(disk.path().join("lock")).expect("removed");
            let is_full = reason == "storage-full";
            if is_full {
                disk.fill();
            } else {
                disk.make_read_only();
            }
            site.start();
            site.serves_reads();
            site.says(Some(reason));
            // The catalog accepts writes.
            assert_eq!(site.create_image(), 201);
            assert_eq!(site.send_part(), (status, reason.to_owned()));
            if is_full {
                disk.free();
            } else {
                disk.make_writable();
            }
            site.recovers();
        }
    };
    // PostgreSQL starts outside: it refuses to run as root.
    let url = match argument_inside() {
        Some(url) => url,
        None => Postgres::shared().await.database().await,
    };
    tokio::task::spawn_blocking(move || test(url)).await.expect("it succeeds");
}
