//! Names of versions, attachments and architectures, from the command line to the file on disk.

use crate::fixture::Fixture;
use imgsrv_testkit::digest;
use std::process::Command;

#[test]
fn every_version_name_of_the_contract_can_be_published_and_downloaded() {
    let fixture = Fixture::start();
    let expected = fixture.disk("disk.qcow2", 1);
    let long = "9".repeat(80);
    for version in ["13~rc1", "1.0^20261128", "1:2.0+dfsg-1~bpo12+1", "2^3~x", &long] {
        let published = fixture.run(&["publish", "debian", version, "disk.qcow2", "--arch", "amd64", "--json"]).json();
        let url = published["files"][0].as_str().expect("a URL");
        let encoded = version.replace('^', "%5E");
        assert_eq!(url, format!("{}/images/debian/{encoded}/debian-{encoded}-amd64.qcow2", fixture.server.url));
        let mut fetched = ureq::get(url).call().expect("the file");
        assert_eq!(digest(&fetched.body_mut().read_to_vec().expect("bytes")), expected, "{url}");
        for reference in [format!("debian:{version}"), format!("debian/{version}")] {
            let shown = fixture.run(&["versions", "show", &reference, "--json"]).json();
            assert_eq!(shown["version"]["version"], version);
            let file = format!("debian-{version}-amd64.qcow2");
            let downloaded = fixture.run(&["download", &reference, "-o", "folder/"]);
            assert_eq!(downloaded.code, Some(0), "{downloaded:?}");
            assert!(downloaded.out.ends_with(&format!("folder/{file}\n")), "{downloaded:?}");
            assert_eq!(digest(&std::fs::read(fixture.path("folder").join(&file)).expect("the file")), expected);
        }
        assert_eq!(fixture.run(&["aliases", "set", "debian", "latest", version]).code, Some(0), "{version}");
        assert_eq!(fixture.run(&["download", "debian", "-o", "latest.qcow2"]).code, Some(0), "{version}");
        let again = ["publish", "debian", version, "disk.qcow2", "--arch", "amd64", "--alias", "latest", "--json"];
        assert_eq!(fixture.run(&again).json()["already_published"], true, "{version}");
    }
    assert_eq!(fixture.get("/v1/images/debian/versions")["versions"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_refused_version_name_says_which_characters_are_allowed() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    for version in ["1 2", "1/2", "~1", "v1\u{e9}", &"1".repeat(129)] {
        let refused = fixture.run(&["publish", "debian", version, "disk.qcow2", "--arch", "amd64"]);
        assert_eq!(refused.code, Some(2), "{version}: {refused:?}");
        let allowed = "it must begin with a letter or digit, contain only letters, digits and . _ + : ~ ^ -, and have at \
                       most 128 characters";
        assert!(refused.err.contains(allowed), "{version}: {}", refused.err);
    }
}

#[test]
fn files_are_named_after_their_format_and_are_not_guessed_against_their_name() {
    let fixture = Fixture::start();
    let shell = |script: &str| {
        let made = Command::new("sh").args(["-ec", script]).current_dir(fixture.dir.path()).status().expect("a shell");
        assert!(made.success(), "{script}");
    };
    shell(
        "head -c 3000000 /dev/urandom > data.raw; for format in vpc vmdk; do qemu-img convert -O $format data.raw $format; done
        xz -k vpc; cp vpc.xz FreeBSD-14.2-RELEASE-amd64.vhd.xz; cp vmdk disk-amd64.qcow2; cp vmdk disk-amd64.img
        cp vmdk AlmaLinux-10.x86_64_v2.vmdk; qemu-img convert -O vmdk -o subformat=monolithicFlat data.raw flat.vmdk
        ovf() { echo \"<Envelope><References><File href='$1'/></References></Envelope>\"; }
        ovf vmdk > a.ovf; tar -cf good-amd64.ova a.ovf vmdk; ovf flat.vmdk > a.ovf; tar -cf flat-amd64.ova a.ovf flat.vmdk
        ovf /etc/passwd > a.ovf; tar -cf host-amd64.ova a.ovf vmdk
        printf '07070100000000000000000000' | lz4 -qlc > initrd.img-6.12-amd64",
    );
    for (file, format) in [
        ("FreeBSD-14.2-RELEASE-amd64.vhd.xz", "vhd.xz"),
        ("disk-amd64.img", "vmdk"),
        ("good-amd64.ova", "ova"),
        ("initrd.img-6.12-amd64", "initrd"),
        ("AlmaLinux-10.x86_64_v2.vmdk,arch=x86-64", "vmdk"),
        ("disk-amd64.qcow2,format=vmdk", "vmdk"),
    ] {
        let version = file.replace([',', '='], "-");
        let published = fixture.run(&["publish", "formats", &version, file, "--json"]).json();
        let url = format!("{0}/images/formats/{version}/formats-{version}-amd64.{format}", fixture.server.url);
        assert_eq!(published["files"], serde_json::json!([url]));
    }
    for (file, code, reason) in [
        (
            "disk-amd64.qcow2",
            2,
            "is named qcow2, but its bytes are vmdk\n  Rename it, or state what it is: --format vmdk",
        ),
        ("AlmaLinux-10.x86_64_v2.vmdk", 2, "contains x86_64_v2, which is not the name of one known architecture"),
        ("flat-amd64.ova", 3, "its file \"flat.vmdk\" is refused: vmdk image: it has its data in another file"),
        ("host-amd64.ova", 3, "ova image: it has a reference to a file that is not in the archive, \"/etc/passwd\""),
    ] {
        let refused = fixture.run(&["publish", "formats", "1", file]);
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(refused.err.contains(reason), "{}", refused.err);
    }
}

#[test]
fn attachments_with_the_names_of_generated_files_are_refused_before_a_draft_exists() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    std::fs::write(fixture.path("file"), "anything").expect("a file");
    for (attachments, reason) in [
        (
            &["sha256=file"][..],
            "amd64.qcow2.sha256 is the name of the file with the checksum of amd64.qcow2, which the \
                                server generates; choose another name for the attachment",
        ),
        (
            &["sbom=file", "sbom.sha256=file"],
            "amd64.qcow2.sbom.sha256 is the name of the file with the checksum of \
                                              amd64.qcow2.sbom",
        ),
        (&["incus.tar.xz=file"], "incus.tar.xz is the name of the metadata that the server generates for Incus"),
    ] {
        let attach: Vec<&str> = attachments.iter().flat_map(|attachment| ["--attach", attachment]).collect();
        let publish = ["publish", "debian", "1", "disk.qcow2", "--arch", "amd64", "--incus"];
        let refused = fixture.run(&[&publish[..], &attach].concat());
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains(reason), "{}", refused.err);
        assert_eq!(fixture.get("/v1/images?include_unpublished=true")["images"].as_array().map(Vec::len), Some(0));
    }
}
