//! Chromium.

use imgsrv_testkit::services::Chromedriver;
use serde_json::{Value, json};
use std::{
    ops::Deref,
    time::{Duration, Instant},
};
use thirtyfour::{By, ChromeCapabilities, ChromiumLikeCapabilities, WebDriver};

/// A headless browser.
pub(crate) struct Chromium {
    driver: WebDriver,
    _service: Chromedriver,
}

impl Deref for Chromium {
    type Target = WebDriver;

    fn deref(&self) -> &WebDriver {
        &self.driver
    }
}

impl Chromium {
    pub(crate) async fn start() -> Self {
        let service = Chromedriver::start();
        let mut wanted = ChromeCapabilities::new();
        for argument in
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        {
            wanted.add_arg(argument).expect("an argument");
        }
        let driver = WebDriver::new(&service.url, wanted).await.expect("a browser");
        Self { driver, _service: service }
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        self.driver.quit().await.expect("it quits");
    }

    /// Sends a command to the developer tools.
    pub(crate) async fn cdp(&self, method: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(method, parameters).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Sets the size of the viewport.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Chooses the colours, `light` or `dark`, and the medium, `screen` or `print`.
    pub(crate) async fn emulate(&self, scheme: &str, medium: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.cdp("Emulation.setEmulatedMedia", json!({"media": medium, "features": features})).await;
    }

    /// Sends a header with every request.
    pub(crate) async fn send_header(&self, name: &str, value: &str) {
        self.cdp("Network.enable", json!({})).await;
        self.cdp("Network.setExtraHTTPHeaders", json!({"headers": {name: value}})).await;
    }

    /// Whether scripts of pages run.
    pub(crate) async fn run_scripts(&self, run: bool) {
        self.cdp("Emulation.setScriptExecutionDisabled", json!({"value": !run})).await;
    }

    /// Clicks an element that leads to a URL with a part.
    pub(crate) async fn click(&self, element: By, part: &str) {
        self.find(element).await.expect("an element").click().await.expect("clicked");
        self.arrive(part).await;
    }

    /// Waits until it is at a URL with a part: a click and a key return before what they lead to has begun.
    pub(crate) async fn arrive(&self, part: &str) {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let url = self.current_url().await.expect("a URL");
            if url.as_str().contains(part) {
                return;
            }
            assert!(Instant::now() < deadline, "still at {url}, not at {part}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What a script returns.
    pub(crate) async fn eval(&self, script: &str) -> Value {
        let returned = self.driver.execute(script, Vec::new()).await;
        returned.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }
}
