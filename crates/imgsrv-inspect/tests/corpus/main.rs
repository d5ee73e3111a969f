//! Files that `qemu-img` makes, the same cut off, and malicious ones: what `qemu-img` opens with other files is refused,
//! and what it opens alone is accepted. The verdicts are on the page `docs/src/reference/inspected-formats.md`.

mod crafted;
mod mutations;
mod packed;
#[path = "../support/mod.rs"]
mod support;
mod tools;

use imgsrv_inspect::{InspectError, Inspected, Problem};
use serde_json::Value;
use std::{
    convert::Infallible,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
};
use support::{Bytes, qemu_img, try_qemu_img};
use tempfile::TempDir;

/// A file of the corpus.
struct File {
    name: String,
    /// How it is made, for the page.
    made: String,
    is_cut: bool,
    stricter: Option<&'static str>,
}

/// What `qemu-img` does with a file.
#[derive(Debug, PartialEq)]
enum Oracle {
    /// It opens other files as well.
    OpensOthers,
    /// It needs a key.
    Encrypted,
    /// It opens the file alone.
    OpensAlone,
    Fails,
}

/// Formats that `qemu-img` may find in a file which it detects as another. It detects the others wherever it could open
/// them.
const FORCED: [&str; 5] = ["vmdk", "vpc", "vdi", "dmg", "cloop"];
/// Tools that decompress what begins so.
const DECOMPRESS: [(&[u8], &str); 8] = [
    (b"\x1f\x8b\x08", "gzip -dc"),
    (b"\xfd7zXZ", "xz -dc"),
    (b"BZh", "bzip2 -dc"),
    (b"\x28\xb5\x2f\xfd", "zstd -qdc --memory=2048MB"),
    (b"P*M", "zstd -qdc"),
    (b"_*M", "lz4 -qdc"),
    (b"\x04\x22\x4d\x18", "lz4 -qdc"),
    (b"\x02\x21\x4c\x18", "lz4 -qdc"),
];

fn ask(folder: &Path, file: &str, format: &str) -> Oracle {
    let output = try_qemu_img(folder, &format!("info{format} --output=json {file}"));
    if !output.status.success() {
        return Oracle::Fails;
    }
    let info: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let details = &info["format-specific"]["data"];
    let names_other = |value: &Value| value.as_str().is_some_and(|name| name != file);
    let extents = details["extents"].as_array().into_iter().flatten();
    if names_other(&info["backing-filename"])
        || names_other(&info["full-backing-filename"])
        || names_other(&details["data-file"])
        || extents.map(|extent| &extent["filename"]).any(names_other)
    {
        return Oracle::OpensOthers;
    }
    if info["encrypted"] == true { Oracle::Encrypted } else { Oracle::OpensAlone }
}

/// What `qemu-img` does with a file when it detects the format, unless it opens others if it is given a format.
fn ask_all(folder: &Path, file: &str) -> Oracle {
    let opens_others = |format: &&str| ask(folder, file, &format!(" -f {format}")) == Oracle::OpensOthers;
    if FORCED.iter().any(opens_others) { Oracle::OpensOthers } else { ask(folder, file, "") }
}

/// The same, for what a compressed file contains as well.
fn ask_contents(folder: &Path, file: &str, bytes: &[u8]) -> Oracle {
    let compressed = ask_all(folder, file);
    let tool = DECOMPRESS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, tool)| *tool);
    let Some(tool) = tool.filter(|_| compressed == Oracle::OpensAlone) else {
        return compressed;
    };
    let decompressed = format!("{file}.decompressed");
    let status = Command::new("sh")
        .args(["-c", &format!("{tool} < {file} > {decompressed}")])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status()
        .expect("a shell");
    let contents = ask_all(folder, &decompressed);
    // gzip only warns about what follows (2).
    let is_whole = status.success() || (tool.starts_with("gzip") && status.code() == Some(2));
    if is_whole || contents != Oracle::OpensAlone { contents } else { Oracle::Fails }
}

/// Makes every file in a new folder.
fn corpus() -> (TempDir, Vec<File>) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let read = |name: &str| fs::read(at(name)).expect("the file");
    let data: Vec<u8> = (0..3_u32 << 20).map(|at| (at / 4096).to_le_bytes()[0]).collect();
    fs::write(at("data.raw"), data).expect("written");
    let noise: Vec<u8> = (0..2_u32 << 20).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    fs::write(at("noise.raw"), noise).expect("written");
    let mut files = Vec::new();
    for (name, commands) in tools::MADE {
        commands.split(" && ").for_each(|arguments| qemu_img(folder.path(), arguments));
        let made = commands.escape_debug().to_string().replace("\\\"", "\"");
        files.push(File { name: (*name).to_owned(), made: format!("`{made}`"), is_cut: false, stricter: None });
    }
    for (of, cuts) in tools::CUTS {
        for cut in *cuts {
            let bytes = read(of);
            let length =
                usize::try_from(*cut).ok().or(bytes.len().checked_add_signed(isize::try_from(*cut).expect("small")));
            let length = length.expect("a length");
            let name = format!("{of}-cut-{}", cut.to_string().replace('-', "end-"));
            fs::write(at(&name), &bytes[..length]).expect("written");
            files.push(File { name, made: format!("{length} bytes of `{of}`"), is_cut: true, stricter: None });
        }
    }
    for file in crafted::all(read) {
        fs::write(at(file.name), file.bytes).expect("written");
        let (name, made) = (file.name.to_owned(), file.made.to_owned());
        files.push(File { name, made, is_cut: false, stricter: file.stricter });
    }
    std::os::unix::fs::symlink("/etc/passwd", at("link.vmdk")).expect("a link");
    for packed::Packed { name, made, command, stricter } in packed::packed() {
        let output = Command::new("sh").args(["-ec", command.as_str()]).current_dir(folder.path()).output();
        let output = output.expect("a shell");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        fs::write(at(name), output.stdout).expect("written");
        files.push(File { name: name.to_owned(), made, is_cut: false, stricter });
    }
    (folder, files)
}

type Verdict = Result<Inspected, InspectError<Infallible>>;

/// What `qemu-img` does with each file, and what the verdict is.
fn verdicts(folder: &Path, files: &[File]) -> Vec<(Oracle, Verdict)> {
    let verdict = |file: &File| {
        let bytes = fs::read(folder.join(&file.name)).expect("the file");
        (ask_contents(folder, &file.name, &bytes), Bytes::new(bytes).inspect())
    };
    thread::scope(|scope| {
        let verdicts = |files: &'_ [File]| files.iter().map(verdict).collect::<Vec<_>>();
        let threads: Vec<_> =
            files.chunks(files.len() / 4 + 1).map(|files| scope.spawn(move || verdicts(files))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("verdicts")).collect()
    })
}

#[test]
fn verdicts_agree_with_qemu_img_and_are_documented() {
    let (folder, files) = corpus();
    assert!(files.len() >= 120, "{} files", files.len());
    let (mut rows, mut wrong) = (String::new(), Vec::new());
    for (File { name, made, is_cut, stricter }, (oracle, verdict)) in files.iter().zip(verdicts(folder.path(), &files))
    {
        let is_right = match (&oracle, &verdict) {
            (Oracle::OpensOthers, Err(InspectError::Refused(refusal))) => {
                matches!(refusal.problem, Problem::OtherFile { .. }) || stricter.is_some()
            }
            (Oracle::Encrypted, Err(InspectError::Refused(refusal))) => refusal.problem == Problem::Encrypted,
            (Oracle::OpensAlone, Ok(_)) | (Oracle::Fails, Err(_)) => stricter.is_none(),
            // QEMU does not read all of a file when it opens it.
            (Oracle::OpensAlone, Err(_)) => stricter.is_some() || *is_cut,
            (_, Ok(_)) => false,
            (_, Err(InspectError::Source(never))) => match *never {},
        };
        let text = match &verdict {
            Ok(found) => format!("accepted as {}", found.detected.unwrap_or_default()),
            Err(error) => format!("refused: {error}"),
        };
        if !is_right {
            wrong.push(format!("{name}: qemu-img {oracle:?}, {text}"));
        }
        let text = stricter.map_or_else(|| text.clone(), |reason| format!("{text} ({reason})"));
        rows += &format!("| {name} | {} | {} |\n", made.replace('|', "\\|"), text.replace('|', "\\|"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/reference/inspected-formats.md");
    let text = fs::read_to_string(&page).expect("the page");
    let (before, _) = text.split_once("\n| file |").expect("the table");
    let expected = format!("{before}\n| file | made by | verdict |\n| --- | --- | --- |\n{rows}");
    if updates_docs() {
        fs::write(&page, &expected).expect("written");
    } else {
        assert!(text == expected, "run IMGSRV_UPDATE_DOCS=1 cargo test -p imgsrv-inspect --test corpus verdicts");
    }
}

#[expect(clippy::disallowed_methods, reason = "the environment says whether the page is written")]
fn updates_docs() -> bool {
    std::env::var("IMGSRV_UPDATE_DOCS").is_ok()
}
