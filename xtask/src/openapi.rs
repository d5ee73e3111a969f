//! The OpenAPI document in the repository, generated from the code.

use crate::shell::{Result, cargo, output, root};

/// Writes `openapi/v1.yaml`, or compares it with the code.
pub(crate) fn run(check: bool) -> Result<()> {
    let example = ["run", "--quiet", "--locked", "--package", "imgsrv-http", "--example", "openapi"];
    let current = output(cargo().args(example))?;
    let path = root().join("openapi/v1.yaml");
    if !check {
        std::fs::create_dir_all(root().join("openapi"))?;
        std::fs::write(&path, current)?;
        println!("wrote {}", path.display());
        return Ok(());
    }
    if std::fs::read_to_string(&path).unwrap_or_default() != current {
        return Err("openapi/v1.yaml differs from the code; run `cargo xtask openapi`".into());
    }
    println!("openapi/v1.yaml is up to date");
    Ok(())
}
