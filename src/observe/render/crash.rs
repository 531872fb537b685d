//! A crash for a person: one line that says what, and three that say where, during what, and what comes of it.

use std::time::Duration;

use super::words;
use crate::observe::model::{Budget, Mailbox, Reason};
use crate::present::escape::escape_name;

/// How many columns the lines below the first are indented.
const INDENT: &str = "      ";

/// What is known of a crash when it is reported. What is not known is not said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CrashReport {
    /// Where: `poems/ecstasy`. Empty for a process outside every tree.
    pub path: String,
    /// Which incarnation, from 1.
    pub incarnation: Option<u32>,
    /// Its pid, for a process without a path.
    pub pid: Option<String>,
    /// Why.
    pub reason: Option<Reason>,
    /// What a log says of the reason, where that is all.
    pub text: String,
    /// The path of its supervisor.
    pub supervisor: Option<String>,
    /// The supervisor's strategy.
    pub strategy: Option<String>,
    /// What is used of its budget, this crash included.
    pub budget: Option<Budget>,
    /// What waited for it.
    pub mailbox: Option<Mailbox>,
    /// How long it had run.
    pub uptime: Option<Duration>,
    /// Whose answer it waited for.
    pub waits_for: Option<String>,
    /// What it was, as it says itself.
    pub state: Option<String>,
    /// What its supervisor does about it: `restarted now`.
    pub effect: Option<String>,
    /// How many siblings that takes along.
    pub taken_along: u64,
    /// How many dynamic children were lost with it, if it was their supervisor.
    pub children: u64,
    /// By what `ctl why` knows it.
    pub id: Option<String>,
}

impl CrashReport {
    /// The block, without a newline at its end; the level before the first line is the log's.
    ///
    /// ```text
    /// poems/ecstasy#3 crashed: panicked at 'poem file vanished' src/serve.rs:88:17
    ///       supervisor poems: one_for_one, restarts 2/3 in 5s
    ///       was handling Recite, mailbox 4/16, up 1m12s
    ///       restarted now; byron ctl why crash-918
    /// ```
    pub fn block(&self) -> String {
        let mut lines = vec![format!("{} crashed: {}", self.who(), self.what())];
        let rest = [
            self.where_it_stood(),
            self.what_it_did(),
            self.what_follows(),
        ];
        lines.extend(
            rest.into_iter()
                .filter(|line| !line.is_empty())
                .map(|line| format!("{INDENT}{line}")),
        );
        lines.join("\n")
    }

    fn who(&self) -> String {
        match (self.path.as_str(), self.incarnation, &self.pid) {
            ("", _, Some(pid)) => escape_name(pid),
            ("", _, None) => "a process".to_owned(),
            (path, Some(incarnation), _) => format!("{}#{incarnation}", escape_name(path)),
            (path, None, _) => escape_name(path),
        }
    }

    fn what(&self) -> String {
        match &self.reason {
            Some(reason) => words::reason(reason),
            None => words::one_line(&self.text),
        }
    }

    fn where_it_stood(&self) -> String {
        let strategy = self.strategy.as_deref().map(escape_name);
        let budget = self
            .budget
            .as_ref()
            .map(|budget| format!("restarts {}", words::budget(budget)));
        let how: Vec<_> = strategy.into_iter().chain(budget).collect();
        match (&self.supervisor, how.join(", ")) {
            (Some(supervisor), how) if how.is_empty() => {
                format!("supervisor {}", escape_name(supervisor))
            }
            (Some(supervisor), how) => format!("supervisor {}: {how}", escape_name(supervisor)),
            (None, how) => how,
        }
    }

    fn what_it_did(&self) -> String {
        let doing = self.reason.as_ref().and_then(words::doing);
        let mailbox = self.mailbox.as_ref().map(words::mailbox);
        let waits_for = self
            .waits_for
            .as_deref()
            .map(|whom| format!("waited for {}", escape_name(whom)));
        let uptime = self
            .uptime
            .map(|uptime| format!("up {}", words::span(uptime)));
        let state = self
            .state
            .as_deref()
            .map(|state| format!("state {}", words::one_line(state)));
        let parts = [
            doing.map(|doing| format!("was {doing}")),
            waits_for,
            mailbox,
            uptime,
            state,
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn what_follows(&self) -> String {
        let effect = self.effect.as_deref().map(words::one_line);
        let id = self
            .id
            .as_deref()
            .map(|id| format!("byron ctl why {}", escape_name(id)));
        let siblings = (self.taken_along > 0).then(|| {
            let siblings = words::counted(self.taken_along, "sibling");
            format!("takes along {siblings}")
        });
        let children = match self.children {
            0 => None,
            1 => Some("1 child lost".to_owned()),
            children => Some(format!("{children} children lost")),
        };
        let effects: Vec<_> = [children, effect, siblings].into_iter().flatten().collect();
        let effects = Some(effects.join(", ")).filter(|effects| !effects.is_empty());
        let parts: Vec<_> = effects.into_iter().chain(id).collect();
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use snapbox::IntoData;

    use super::*;
    use crate::observe::model::ReasonKind;

    fn report() -> CrashReport {
        CrashReport {
            path: "poems/ecstasy".into(),
            incarnation: Some(3),
            reason: Some(Reason {
                text: "poem file vanished".into(),
                at: Some("src/serve.rs:88:17".into()),
                message: Some("byron_actors::Recite".into()),
                ..Reason::new(ReasonKind::Panic)
            }),
            supervisor: Some("poems".into()),
            strategy: Some("one_for_one".into()),
            budget: Some(Budget {
                used: 2,
                intensity: 3,
                period: Duration::from_secs(5),
            }),
            mailbox: Some(Mailbox {
                len: 4,
                capacity: Some(16),
                ..Mailbox::default()
            }),
            uptime: Some(Duration::from_secs(72)),
            effect: Some("restarted now".into()),
            taken_along: 1,
            children: 2,
            id: Some("crash-918".into()),
            ..CrashReport::default()
        }
    }

    #[test]
    fn a_crash_is_one_block() {
        snapbox::assert_data_eq!(
            report().block(),
            snapbox::str![[r#"
poems/ecstasy#3 crashed: panicked at 'poem file vanished' src/serve.rs:88:17
      supervisor poems: one_for_one, restarts 2/3 in 5s
      was handling Recite, mailbox 4/16, up 1m12s
      2 children lost, restarted now, takes along 1 sibling; byron ctl why crash-918
"#]]
            .raw()
        );
    }

    #[test]
    fn what_is_not_known_takes_no_line() {
        let bare = CrashReport {
            pid: Some("<0.42.0>".into()),
            text: "error: ink\u{7}\nspilt".into(),
            ..CrashReport::default()
        };
        assert_eq!(bare.block(), r"<0.42.0> crashed: error: ink\x07\nspilt");
    }
}
