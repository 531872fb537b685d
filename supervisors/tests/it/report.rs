//! A crash is told once, by the crash report and not by the default print.

use std::fmt;
use std::sync::Arc;

use actix::prelude::*;
use byron_supervisors::{Context, ExitReason, exit, exited, kill, spawn};
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span;

use crate::support::{Strings, child, child_case, panic_of, puppet, settle, system};

/// Writes every event down, a line for each.
#[derive(Clone, Default)]
pub(crate) struct Scribe(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl tracing::Subscriber for Scribe {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line(format!("{} {}", metadata.level(), metadata.target()));
        event.record(&mut line);
        self.0.lock().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Scribe {
    pub(crate) fn crashes(&self) -> Vec<String> {
        let lines = self.0.lock();
        lines
            .iter()
            .filter(|line| line.contains("byron_supervisors::crash"))
            .cloned()
            .collect()
    }
}

struct Fragile;

impl Actor for Fragile {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Knock;

impl Handler<Knock> for Fragile {
    type Result = ();

    fn handle(&mut self, _: Knock, _: &mut Self::Context) {
        panic!("broken");
    }
}

#[test]
fn a_crash_is_reported_once_with_what_is_known_of_it() {
    let scribe = Scribe::default();
    let _guard = tracing::subscriber::set_default(scribe.clone());
    system(async {
        let fragile = spawn(Fragile);
        let end = exited(fragile.pid());
        for _ in 0..4 {
            fragile.do_send(Knock);
        }
        end.await;
        settle().await;
        let crashes = scribe.crashes();
        assert_eq!(crashes.len(), 1, "{crashes:#?}");
        let line = &crashes[0];
        for part in [
            "ERROR",
            &format!("pid={}", fragile.pid()),
            "actor=\"it::report::Fragile\"",
            "reason=\"panic\"",
            "panic=\"broken\"",
            "report.rs:",
            "in_message=\"it::report::Knock\"",
            "mailbox=3",
            "message=crashed: panicked at 'broken'",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert_eq!(line.matches(" message=").count(), 1, "{line}");
    });
}

#[test]
fn an_error_of_its_own_is_a_crash_report_and_an_orderly_end_is_none() {
    let scribe = Scribe::default();
    let _guard = tracing::subscriber::set_default(scribe.clone());
    system(async {
        for reason in [ExitReason::Normal, ExitReason::SHUTDOWN] {
            let (one, _) = puppet();
            let end = exited(one.pid());
            one.cast(move |_, ctx| ctx.exit(reason));
            end.await;
        }
        let (one, _) = puppet();
        let end = exited(one.pid());
        kill(one.pid());
        end.await;
        assert_eq!(scribe.crashes(), [""; 0]);
        let (one, _) = puppet();
        let end = exited(one.pid());
        one.cast(|_, ctx| ctx.exit(ExitReason::error("no room")));
        end.await;
        assert_eq!(scribe.crashes().len(), 1);
        assert!(scribe.crashes()[0].contains("crashed: error: no room"));
    });
}

#[test]
fn those_who_fall_with_a_crash_are_not_reported_as_crashes() {
    let scribe = Scribe::default();
    let _guard = tracing::subscriber::set_default(scribe.clone());
    system(async {
        let (first, _) = puppet();
        let mut ends = vec![exited(first.pid())];
        for _ in 0..5 {
            let (other, _) = puppet();
            let pid = first.pid();
            other.tell(move |_, ctx| ctx.link(pid)).await;
            ends.push(exited(other.pid()));
        }
        first.cast(|_, _| panic!("the first"));
        for end in ends {
            assert_eq!(panic_of(&end.await).message, "the first");
        }
        let (told, _) = puppet();
        let end = exited(told.pid());
        exit(told.pid(), ExitReason::error("told to"));
        assert_eq!(end.await, ExitReason::error("told to"));
        assert_eq!(scribe.crashes().len(), 1, "{:#?}", scribe.crashes());
    });
}

/// A subscriber that panics over the report.
struct Fainting;

impl tracing::Subscriber for Fainting {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "byron_supervisors::crash"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        panic!("faints");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_report_that_panics_robs_nobody_of_the_down() {
    let _guard = tracing::subscriber::set_default(Fainting);
    system(async {
        let (observer, log) = puppet();
        let fragile = spawn(Fragile);
        observer.watch(fragile.pid()).await;
        fragile.do_send(Knock);
        let downs = log.wait_downs(1).await;
        assert_eq!(panic_of(&downs[0].reason).message, "broken");
    });
}

#[test]
fn an_error_whose_text_panics_robs_nobody_of_the_down() {
    #[derive(Debug)]
    struct Mute;
    impl fmt::Display for Mute {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("mute");
        }
    }
    impl std::error::Error for Mute {}
    system(async {
        let (observer, log) = puppet();
        let (victim, _) = puppet();
        observer.watch(victim.pid()).await;
        victim.cast(|_, ctx| {
            // Without the puppet's own note of the reason.
            ctx.exit(ExitReason::error(Mute));
            ctx.terminate();
        });
        let downs = log.wait_downs(1).await;
        assert_eq!(downs[0].reason.kind(), "error");
    });
}

#[test]
fn the_default_print_is_for_panics_outside_of_processes() {
    const NAME: &str = "report::the_default_print_is_for_panics_outside_of_processes";
    if child_case().as_deref() == Some("print") {
        system(async {
            let fragile = spawn(Fragile);
            let end = exited(fragile.pid());
            fragile.do_send(Knock);
            end.await;
            let outside = actix_rt::spawn(async { panic!("nobody's") }).await;
            assert!(outside.is_err());
            let thread = std::thread::spawn(|| panic!("a thread's"));
            assert!(thread.join().is_err());
        });
        return;
    }
    let output = child(NAME, "print");
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("broken"), "{stderr}");
    assert!(stderr.contains("nobody's"), "{stderr}");
    assert!(stderr.contains("a thread's"), "{stderr}");
}
