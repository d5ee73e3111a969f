//! Prints the contract, as `cargo xtask openapi` writes it to `openapi/v1.yaml`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write;
    std::io::stdout().lock().write_all(imgsrv_http::openapi().to_yaml()?.as_bytes())?;
    Ok(())
}
