//! What people do with pages.

use crate::{catalog::Catalog, chromium::Chromium};
use imgsrv_testkit::services::{axe, html_validate};
use serde_json::{Value, json};
use thirtyfour::{By, Key, TypingData};

/// One page of every kind, and of every state.
const PAGES: &[&str] = &[
    "/",
    "/?q=deb&kind=vm&sort=newest",
    "/?q=nothing",
    "/images/debian/",
    "/images/debian/?lifecycle=all",
    "/images/debian/latest/",
    "/images/debian/12.7.0/?for=incus",
    "/images/debian/12.6.0/?for=packer",
    "/images/debian/12.5.0/",
    "/images/nothing/",
    "/?kind=floppy",
    "/status",
];

#[test]
fn pages_are_valid_html() {
    let (catalog, empty) = (Catalog::full(), Catalog::empty());
    let rules = json!({"extends": ["html-validate:standard", "html-validate:a11y"],
        "rules": {"no-inline-style": "error", "require-csp-nonce": "off"}});
    std::fs::write(catalog.dir.path().join(".htmlvalidate.json"), rules.to_string()).expect("written");
    let mut command = html_validate();
    command.current_dir(catalog.dir.path());
    let operator = catalog.page_with("/status", &[("authorization", &format!("Bearer {}", catalog.operator()))]);
    let pages = PAGES.iter().map(|path| catalog.page(path)).chain([empty.page("/"), operator]);
    for (number, page) in pages.enumerate() {
        let file = catalog.dir.path().join(format!("{number}.html"));
        std::fs::write(&file, page).expect("written");
        command.arg(file);
    }
    let checked = command.output().expect("html-validate runs");
    let shown = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success(), "{shown}");
}

/// Expects a page to be accessible and to fit at every width, in both themes.
async fn check(chromium: &Chromium, axe: &str, url: &str) {
    for (scheme, width) in [("light", 1280), ("dark", 320)] {
        chromium.resize(width, 900).await;
        chromium.emulate(scheme, "screen").await;
        chromium.goto(url).await.expect("a page");
        chromium.eval(axe).await;
        let run = "const done = arguments[arguments.length - 1];
            axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})
                .then((found) => done(found.violations.map((one) => one.id + ': ' + one.nodes.map((node) => node.html))));";
        let violations = chromium.execute_async(run, Vec::new()).await.expect("axe runs");
        assert_eq!(violations.json(), &json!([]), "{url} {scheme} {width}");
        let overflow = chromium.eval("return document.documentElement.scrollWidth - window.innerWidth").await;
        assert!(overflow.as_i64().is_some_and(|pixels| pixels <= 0), "{url} {width}: {overflow}");
        // The policy of the page blocked nothing.
        let blocked = chromium.eval("return document.styleSheets.length").await;
        assert_eq!(blocked, json!(1), "{url}");
    }
}

#[tokio::test]
async fn pages_are_accessible_at_every_width_and_in_both_themes() {
    let (catalog, chromium, axe) = (Catalog::full(), Chromium::start().await, axe());
    let empty = Catalog::empty();
    for url in PAGES.iter().map(|path| format!("{}{path}", catalog.url)).chain([empty.url.clone()]) {
        check(&chromium, &axe, &url).await;
    }
    chromium.stop().await;
}

#[tokio::test]
async fn long_and_hostile_texts_stay_within_the_page_and_run_nothing() {
    let (catalog, chromium, axe) = (Catalog::hostile(), Chromium::start().await, axe());
    let image = format!("/images/{}/", "w".repeat(63));
    let version = format!("{image}{}/", "2".repeat(64));
    for path in ["/", &image, &format!("{image}?lifecycle=all"), &format!("{image}1/"), &version, "/status"] {
        check(&chromium, &axe, &format!("{}{path}", catalog.url)).await;
        let ran = "return [window.ran === undefined, document.scripts.length, document.images.length]";
        assert_eq!(chromium.eval(ran).await, json!([true, 1, 1]), "{path}");
    }
    chromium.stop().await;
}

#[tokio::test]
async fn an_operator_sees_what_the_server_does() {
    let (catalog, chromium, axe) = (Catalog::full(), Chromium::start().await, axe());
    let url = format!("{}/status", catalog.url);
    let headings = async || {
        chromium.eval("return [...document.querySelectorAll('main h2')].map((heading) => heading.textContent)").await
    };
    chromium.goto(url.as_str()).await.expect("a page");
    assert_eq!(headings().await, json!(["Downloads", "Publishing"]));
    chromium.send_header("Authorization", &format!("Bearer {}", catalog.operator())).await;
    check(&chromium, &axe, &url).await;
    let shown = headings().await;
    for expected in ["Downloads", "Publishing", "Nodes", "Verification", "Garbage collection"] {
        assert!(shown.as_array().is_some_and(|shown| shown.contains(&json!(expected))), "{expected}: {shown}");
    }
    let nodes = chromium.find_all(By::Css("table tbody tr")).await.expect("a table");
    assert_eq!(nodes.len(), 1);
    assert!(nodes[0].text().await.expect("a row").contains("live"));
    chromium.stop().await;
}

#[tokio::test]
async fn commands_are_copied_and_run() {
    let (catalog, chromium) = (Catalog::full(), Chromium::start().await);
    for (path, commands) in [("/images/debian/12.7.0/?for=curl", 4), ("/images/debian/latest/?for=curl", 4)] {
        chromium.goto(format!("{}{path}", catalog.url)).await.expect("a page");
        let permission = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
        chromium.cdp("Browser.grantPermissions", permission).await;
        let buttons = chromium.find_all(By::Css(".code .copy")).await.expect("buttons");
        assert_eq!(buttons.len(), commands);
        let mut pasted = String::new();
        for button in &buttons {
            button.click().await.expect("clicked");
            let read = "const done = arguments[arguments.length - 1]; navigator.clipboard.readText().then(done);";
            let text = chromium.execute_async(read, Vec::new()).await.expect("a clipboard");
            pasted.push_str(text.json().as_str().expect("a text"));
            pasted.push('\n');
        }
        let status = chromium.eval("return document.getElementById('copied').textContent").await;
        assert_eq!(status, json!("Copied these commands for curl, wget, 4"));
        let shown = catalog.paste(&pasted);
        assert_eq!(shown.matches(": OK").count(), 2, "{shown}");
    }
    let shown = chromium.find_all(By::Css(".digest + .copy")).await.expect("buttons");
    assert!(!shown.is_empty());
    chromium.stop().await;
}

#[tokio::test]
async fn everything_works_without_scripts() {
    let (catalog, chromium) = (Catalog::full(), Chromium::start().await);
    chromium.run_scripts(false).await;
    chromium.goto(format!("{}/", catalog.url)).await.expect("a page");
    assert!(chromium.find_all(By::Css(".copy")).await.expect("a page").is_empty());
    let search = chromium.find(By::Css("input[name=q]")).await.expect("a field");
    search.send_keys("fedora").await.expect("typed");
    chromium.click(By::Css("form.search button"), "q=fedora").await;
    let found = chromium.find_all(By::Css(".images > li")).await.expect("images");
    assert_eq!(found.len(), 1);
    chromium.click(By::LinkText("fedora-server"), "/images/fedora-server/").await;
    chromium.click(By::LinkText("1.0"), "/images/fedora-server/1.0/").await;
    chromium.click(By::LinkText("QEMU"), "for=qemu").await;
    let code = chromium.find(By::Css(".step:last-child code")).await.expect("a command").text().await;
    assert!(code.expect("a text").contains("qemu-system-x86_64"));
    chromium.stop().await;
}

#[tokio::test]
async fn the_keyboard_reaches_everything() {
    let (catalog, chromium) = (Catalog::full(), Chromium::start().await);
    chromium.goto(format!("{}/", catalog.url)).await.expect("a page");
    let press = async |keys: TypingData| {
        chromium.action_chain().send_keys(keys).perform().await.expect("pressed");
    };
    let focused = async || {
        let text = "const e = document.activeElement; return e.name || e.textContent.trim() || e.id";
        chromium.eval(text).await.as_str().unwrap_or_default().to_owned()
    };
    press(Key::Tab.into()).await;
    assert_eq!(focused().await, "Skip to content");
    press(Key::Enter.into()).await;
    press(Key::Tab.into()).await;
    assert_eq!(focused().await, "q");
    press("debian".into()).await;
    press(Key::Enter.into()).await;
    chromium.arrive("q=debian").await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        press(Key::Tab.into()).await;
        seen.push(focused().await);
    }
    for expected in ["Images", "Status", "os", "arch", "kind", "state", "sort", "Search", "debian", "12.7.0"] {
        assert!(seen.iter().any(|one| one == expected), "{expected}: {seen:?}");
    }
    chromium.stop().await;
}

#[tokio::test]
async fn a_printed_page_has_content_alone() {
    let (catalog, chromium) = (Catalog::full(), Chromium::start().await);
    chromium.emulate("light", "print").await;
    chromium.goto(format!("{}/images/debian/12.7.0/", catalog.url)).await.expect("a page");
    let shown = "return [...document.querySelectorAll('nav[aria-label=Site] ul, .tabs, .copy')]
        .filter((one) => getComputedStyle(one).display !== 'none').length";
    assert_eq!(chromium.eval(shown).await, Value::from(0));
    chromium.stop().await;
}
