//! Whom a failed child takes along. Pure.

use std::fmt;
use std::ops::Range;

/// What a supervisor restarts when a child fails.
///
/// | strategy | A B **C** D E: C fails | use it when |
/// | --- | --- | --- |
/// | `OneForOne` | **C** | children do not know each other |
/// | `RestForOne` | **C D E** | later children depend on earlier ones |
/// | `OneForAll` | **A B C D E** | none is any good without the others |
///
/// Those that are taken along are stopped last to first, then all are started first to last, also those that had been
/// stopped by `TerminateChild` or had ended normally, as OTP does. Temporary ones are stopped and not started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// Only the child that failed.
    #[default]
    OneForOne,
    /// All children.
    OneForAll,
    /// The child that failed, and those that were started after it.
    RestForOne,
}

impl Strategy {
    /// The places, in start order, of the children that a failure at `failed` concerns.
    pub fn affected(self, failed: usize, children: usize) -> Range<usize> {
        match self {
            Self::OneForOne => failed..failed + 1,
            Self::OneForAll => 0..children,
            Self::RestForOne => failed..children,
        }
    }

    /// The strategy with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let mut all = [Self::OneForOne, Self::OneForAll, Self::RestForOne].into_iter();
        all.find(|strategy| strategy.name() == name)
    }

    /// OTP's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneForOne => "one_for_one",
            Self::OneForAll => "one_for_all",
            Self::RestForOne => "rest_for_one",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy as _, prop_assert, proptest};

    use super::Strategy;

    #[test]
    fn each_strategy_takes_along_what_otp_takes_along() {
        assert_eq!(Strategy::OneForOne.affected(2, 5), 2..3);
        assert_eq!(Strategy::OneForAll.affected(2, 5), 0..5);
        assert_eq!(Strategy::RestForOne.affected(2, 5), 2..5);
    }

    proptest! {
        #[test]
        fn whoever_fails_is_affected_and_a_stricter_strategy_affects_no_fewer(
            (children, failed) in (1usize..50).prop_flat_map(|children| (Just(children), 0..children)),
        ) {
            let [one, rest, all] = [Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll]
                .map(|strategy| strategy.affected(failed, children));
            prop_assert!(one.contains(&failed) && one.len() == 1);
            prop_assert!(rest.start == failed && rest.end == children);
            prop_assert!(all.start == 0 && all.end == children);
        }
    }
}
