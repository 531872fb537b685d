//! The story for a person: who fell first, during what, what the supervisor did, and the events before and after.

use jiff::Timestamp;

use super::{Chain, Outcome, Reaction, TakenAlong};
use crate::observe::model::{Event, EventKind};
use crate::observe::render::{Look, STRONG, event_line, event_words, words};
use crate::present::escape::escape_name;

/// How many of the events that followed have a line.
const EFFECT_LINES_MAX: usize = 20;

/// How many of those that were taken along are named.
const TAKEN_NAMED_MAX: usize = 8;

/// What the lines of the chain are indented by; the one that was asked for has a mark there.
const INDENT: &str = "  ";
const MARK: &str = "▶ ";

impl Chain {
    /// The story, each line ended.
    pub fn text(&self, look: &Look, now: Timestamp) -> String {
        let mut text = format!("{}\n", look.paint(STRONG, &self.headline(now)));
        for (label, said) in self.findings(now) {
            text += &format!(
                "{INDENT}{}  {said}\n",
                look.paint(STRONG, &format!("{label:10}"))
            );
        }
        let inner = Look {
            width: look
                .width
                .map(|width| width.saturating_sub(words::width(INDENT))),
            ..look.clone()
        };
        let line = |mark: &str, event: &Event| format!("{mark}{}\n", event_line(event, &inner));
        if self.lost.is_some() || !self.causes.is_empty() {
            text += "\nwhat led to it\n";
        } else {
            text += "\nwhat happened\n";
        }
        if let Some(lost) = self.lost {
            text += &format!("{INDENT}(#{lost} began it, and is no longer known)\n");
        }
        for cause in &self.causes {
            text += &line(INDENT, cause);
        }
        text += &line(MARK, &self.subject);
        if !self.effects.is_empty() {
            text += "\nwhat it led to\n";
            for effect in self.effects.iter().take(EFFECT_LINES_MAX) {
                text += &line(INDENT, effect);
            }
            let more = self.effects.len().saturating_sub(EFFECT_LINES_MAX) as u64;
            if more + self.effects_more > 0 {
                text += &format!("{INDENT}and {} more\n", more + self.effects_more);
            }
        }
        text
    }

    /// `crash-918: root/poems/ecstasy#3 panicked at 'poem file vanished' src/serve.rs:88:17, 2s ago`.
    fn headline(&self, now: Timestamp) -> String {
        let subject = &self.subject;
        let id = subject
            .crash_id()
            .unwrap_or_else(|| format!("#{}", subject.seq));
        let what = match (&subject.kind, &subject.reason) {
            (EventKind::Exit, Some(reason)) => format!(": {}", words::reason(reason)),
            (kind, _) => format!(" {}", escape_name(kind.as_str())),
        };
        let ago = words::span(words::between(subject.ts, now));
        format!("{id}: {}{what}, {ago} ago", words::whom(subject))
    }

    fn findings(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut findings = Vec::new();
        if let Some(begun) = self.begun_by() {
            findings.push((
                "began with",
                format!("{} (#{})", event_words(begun), begun.seq),
            ));
        }
        if let Some(first) = self.first() {
            findings.push(("fell first", self.fall(first)));
        }
        if let Some(reaction) = &self.reaction {
            findings.push(("supervisor", reaction.text()));
        }
        let taken = self.taken_text();
        if !taken.is_empty() {
            findings.push(("took along", taken));
        }
        if !self.gave_up.is_empty() {
            let places: Vec<_> = self.gave_up.iter().map(|path| escape_name(path)).collect();
            findings.push(("gave up", places.join(", then ")));
        }
        if let Some(outcome) = self.outcome_text(now) {
            findings.push(("since then", outcome));
        }
        findings
    }

    fn event(&self, seq: u64) -> Option<&Event> {
        let mut events = self
            .causes
            .iter()
            .chain([&self.subject])
            .chain(&self.effects);
        events.find(|event| event.seq == seq)
    }

    fn first(&self) -> Option<&Event> {
        self.event(self.fell_first?)
    }

    /// Whatever made the first one fall, if it did not fall by itself: an operator, a rehearsed fault.
    fn begun_by(&self) -> Option<&Event> {
        let first = self.fell_first?;
        self.causes.iter().find(|event| event.seq < first)
    }

    fn fall(&self, first: &Event) -> String {
        let actor = match self.actor.as_str() {
            "" => String::new(),
            actor => format!(" ({})", words::type_name(actor)),
        };
        let mut text = format!("{}{actor}", words::whom(first));
        if let Some(reason) = &first.reason {
            let doing = words::doing(reason);
            let doing = doing.map(|doing| format!(", {doing}"));
            text += &format!(": {}{}", words::reason(reason), doing.unwrap_or_default());
        }
        text
    }

    fn taken_text(&self) -> String {
        let name = |taken: &TakenAlong| {
            let name = taken.path.rsplit('/').next().unwrap_or(&taken.path);
            format!("{}#{}", escape_name(name), taken.incarnation)
        };
        let named = self.taken_along.iter().take(TAKEN_NAMED_MAX);
        let mut names: Vec<_> = named.map(name).collect();
        let more = self.taken_along.len() - names.len();
        if more > 0 {
            names.push(format!("{more} more"));
        }
        names.join(", ")
    }

    fn outcome_text(&self, now: Timestamp) -> Option<String> {
        match &self.outcome {
            Outcome::Restarted {
                incarnation,
                event,
                ts,
            } => {
                let after = words::exact_span(words::between(self.subject.ts, *ts));
                Some(format!("#{incarnation} was ready after {after} (#{event})"))
            }
            Outcome::Restarting => Some("is being restarted".to_owned()),
            Outcome::Waiting { until: Some(until) } if *until > now => {
                let span = words::exact_span(words::between(now, *until));
                Some(format!("next attempt in {span}"))
            }
            Outcome::Waiting { .. } => Some("next attempt is due".to_owned()),
            Outcome::Gone { event: Some(event) } => Some(format!("not started again (#{event})")),
            Outcome::Gone { event: None } => Some("not started again".to_owned()),
            Outcome::Unknown => None,
        }
    }
}

impl Reaction {
    /// `root/poems: one_for_one, restarts it (#919), budget 2/3 in 5s, 1 left`.
    fn text(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.strategy.as_deref().map(escape_name));
        let did = match self.kind {
            EventKind::Restart => "restarts it",
            EventKind::Backoff => "waits, then restarts it",
            EventKind::GaveUp => "gives up",
            _ => "acts",
        };
        parts.push(format!("{did} (#{})", self.event));
        let then = self.budget.as_ref().map(|budget| ("budget", budget));
        let now = self
            .budget_now
            .as_ref()
            .map(|budget| ("budget now", budget));
        if let Some((word, budget)) = then.or(now) {
            let (used, left) = (words::budget(budget), budget.left());
            parts.push(format!("{word} {used}, {left} left"));
        }
        format!("{}: {}", escape_name(&self.supervisor), parts.join(", "))
    }
}
