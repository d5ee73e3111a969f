//! Contract tests of the ports. Each suite has one list of cases; an adapter only opens a fresh instance, and runs all of
//! them.
#![expect(clippy::unwrap_used, reason = "a case that cannot set itself up has failed")]

pub mod blobs;
pub mod catalog;

use futures::future::LocalBoxFuture;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// Opens an instance.
pub type Opening<T> = LocalBoxFuture<'static, T>;

/// A list of named cases. A case that is not listed is dead code, and fails the build.
macro_rules! cases {
    ($($case:path),* $(,)?) => { &[$((stringify!($case), |fresh| Box::pin($case(fresh)))),*] };
}
pub(crate) use cases;

type Case<T> = (&'static str, fn(T) -> LocalBoxFuture<'static, ()>);

/// Opens a fresh instance of an adapter.
pub type Open<T> = fn() -> Opening<T>;

/// A UUID that sorts after all before it.
fn uuid() -> Uuid {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0000 | u128::from(count))
}

/// Runs every case on a fresh instance of each adapter, as `cargo test` expects, and exits.
fn run<T: 'static>(adapters: &[(&str, Open<T>)], cases: &'static [Case<T>]) -> ! {
    let arguments = libtest_mimic::Arguments::from_args();
    let mut trials = Vec::new();
    for (adapter, open) in adapters {
        let open = *open;
        trials.extend(cases.iter().map(|(name, case)| {
            libtest_mimic::Trial::test(format!("{adapter}::{name}"), move || {
                tokio::runtime::Runtime::new()?.block_on(async { case(open().await).await });
                Ok(())
            })
        }));
    }
    libtest_mimic::run(&arguments, trials).exit()
}
