//! Named points between the writes of a transition. Tests make the process crash or panic there, which must lose nothing.
//! They exist only with the feature `failpoints`.

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::Once;

    static ARM: Once = Once::new();

    /// Arms the points that the environment variable `FAILPOINTS` names, as `name=action;...`.
    pub fn arm_crash_points() {
        ARM.call_once(|| {
            if std::env::var_os("FAILPOINTS").is_some() {
                // Dropping it would disarm them.
                std::mem::forget(fail::FailScenario::setup());
            }
        });
    }

    /// Does what the action of the point `name` says: `return` aborts the process, `panic` panics.
    pub fn crash_point(name: &str) {
        fail::eval(name, |_| std::process::abort());
    }

    /// Whether the switch `name` has the action `return`.
    pub(crate) fn is_switched_on(name: &str) -> bool {
        fail::eval(name, |_| ()).is_some()
    }
}

#[cfg(not(feature = "failpoints"))]
mod armed {
    /// Does nothing: there are no points.
    pub const fn arm_crash_points() {}

    /// Does nothing: there are no points.
    pub const fn crash_point(_name: &str) {}

    /// There are no switches.
    pub(crate) const fn is_switched_on(_name: &str) -> bool {
        false
    }
}

pub(crate) use armed::is_switched_on;
pub use armed::{arm_crash_points, crash_point};
