//! Lists what an Incus client sees of a server: `list index.json images.json`.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use imgsrv_simplestreams::{Images, Index, Products};
use std::{env::args, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let (Some(index), Some(products)) = (args().nth(1), args().nth(2)) else {
        return Err("usage: list INDEX.JSON IMAGES.JSON".into());
    };
    let index: Index = serde_json::from_slice(&fs::read(index)?)?;
    println!("documents: {}", index.image_documents().collect::<Vec<_>>().join(", "));
    let products: Products = serde_json::from_slice(&fs::read(products)?)?;
    for image in Images::of([&products]).iter() {
        println!("{} {} {} {}", &image.fingerprint[..12], image.architecture, image.os, image.root.path);
    }
    Ok(())
}
