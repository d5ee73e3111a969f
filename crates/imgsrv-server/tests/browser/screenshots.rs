//! The screenshots of the documentation. `cargo xtask screenshots` stores them; otherwise they are only taken.

use crate::{catalog::Catalog, chromium::Chromium};
use std::path::Path;

#[tokio::test]
async fn screenshots() {
    let (full, empty, chromium) = (Catalog::full(), Catalog::empty(), Chromium::start().await);
    let operator = format!("Bearer {}", full.operator());
    #[expect(clippy::disallowed_methods, reason = "cargo xtask screenshots sets it")]
    let store = std::env::var("IMGSRV_UPDATE_DOCS").is_ok_and(|value| value == "1");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/img");
    for (name, url) in [
        ("home", format!("{}/", full.url)),
        ("image", format!("{}/images/debian/?lifecycle=all", full.url)),
        ("version", format!("{}/images/debian/latest/?for=curl", full.url)),
        ("empty", format!("{}/", empty.url)),
        ("status", format!("{}/status", full.url)),
    ] {
        if name == "status" {
            chromium.send_header("Authorization", &operator).await;
        }
        for (scheme, width) in [("light", 1280), ("dark", 1280), ("light", 400), ("dark", 400)] {
            chromium.resize(width, 800).await;
            chromium.emulate(scheme, "screen").await;
            chromium.goto(url.as_str()).await.expect("a page");
            let height = chromium.eval("return document.documentElement.scrollHeight").await.as_u64();
            chromium.resize(width, u32::try_from(height.expect("a height")).expect("a height")).await;
            let png = chromium.screenshot_as_png().await.expect("a screenshot");
            assert!(png.len() > 5_000, "{name} is blank");
            // The documentation shows one of each page.
            if store && name != "empty" && (scheme, width) == (if name == "status" { "dark" } else { "light" }, 1280) {
                std::fs::create_dir_all(&folder).expect("a folder");
                std::fs::write(folder.join(format!("{name}-{scheme}-{width}.png")), png).expect("written");
            }
        }
    }
    chromium.stop().await;
}
