//! The commands of version pages for Incus and LXD, taken from their HTML and run as somebody who pastes them.

use crate::{
    client::{Client, Program},
    disk,
    publisher::{Artifact, Publisher, Release, digest},
    root_file_systems,
};
use imgsrv_testkit::commands_of;
use std::fs;
use tempfile::TempDir;

#[test]
fn the_commands_of_a_page_get_the_image_that_it_shows() {
    let scratch = TempDir::new().expect("a scratch folder");
    let publisher = Publisher::start();
    let machine = disk(scratch.path(), 3);
    let (container, _) = root_file_systems(scratch.path());
    let [amd64, arm64] =
        ["x86_64", "aarch64"].map(|architecture| Artifact { architecture, ..Artifact::qcow2(&machine).described() });
    publisher.publish(&Release { image: "debian", version: "12.5.0", artifacts: &[arm64, amd64] });
    publisher.alias("debian", "latest", "12.5.0");
    let minimal = Artifact { variant: "minimal", ..Artifact::new("squashfs", &container).described() };
    publisher.publish(&Release { image: "web", version: "1", artifacts: &[minimal] });
    // Most people need the file for amd64, however its architecture is spelled.
    let page = publisher.page("/images/debian/12.5.0/?for=curl");
    let [fetch, download, _, verify, verify_all] = &commands_of(&page)[..] else { panic!("{page}") };
    assert!(download.ends_with("debian-12.5.0-x86_64.qcow2"), "{page}");
    let folder = TempDir::new_in(&scratch).expect("a folder");
    let script = [&**fetch, download, verify, verify_all].join("\n");
    Client::without_remote(Program::Incus).paste(&script, folder.path());
    assert!(fs::read(folder.path().join("debian-12.5.0-x86_64.qcow2")).expect("the file") == machine);
    for (id, program) in [("incus", Program::Incus), ("lxc", Program::Lxd)] {
        for (path, root, files) in [
            ("debian/12.5.0/", &machine, ["debian-12.5.0-aarch64.qcow2", "debian-12.5.0-x86_64.qcow2"].as_slice()),
            ("debian/latest/", &machine, &["debian-aarch64.qcow2", "debian-x86_64.qcow2"]),
            ("web/1/", &container, &["web-1-x86_64-minimal.squashfs"]),
        ] {
            for file in files {
                let page = publisher.page(&format!("/images/{path}?for={id}&file={file}"));
                let [trust, add, launch, export] = &commands_of(&page)[..] else { panic!("four commands") };
                let client = Client::without_remote(program);
                client.paste(&format!("cd ~\n{trust}\n{add}"), scratch.path());
                let folder = TempDir::new_in(&scratch).expect("a folder");
                client.paste(export, folder.path());
                let contents: Vec<_> = fs::read_dir(&folder)
                    .expect("a folder")
                    .map(|entry| fs::read(entry.expect("an entry").path()).expect("a file"))
                    .collect();
                let [one, other] = &contents[..] else { panic!("{export}: {} files", contents.len()) };
                let (meta, found) = if one == root { (other, one) } else { (one, other) };
                assert!(found == root, "{export}");
                // The page shows the fingerprint of what was exported.
                assert!(page.contains(&digest(&[meta.as_slice(), found].concat())), "{export}");

                // Only a daemon can launch an instance. The client finds the image by the name in the command.
                if !file.contains("aarch64") {
                    let words: Vec<&str> = launch.split(' ').collect();
                    let [_, "launch", name, _, kind @ ..] = &words[..] else { panic!("{launch}") };
                    let shown = client.run(&[&["image", "info", *name], kind].concat());
                    assert!(shown.contains(&digest(&[meta.as_slice(), found].concat())), "{launch}: {shown}");
                }
            }
        }
    }
}
