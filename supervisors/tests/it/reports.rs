//! What supervisors report: OTP's four contexts with OTP's fields, and progress.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use byron_supervisors::{
    ChildSpec, DeleteChild, DynamicFlags, DynamicSupervisor, ExitReason, Pid, Restart, Shutdown,
    StartChild, StartDynamicChild, Supervisor, TerminateChild, WhichChildren, exit, exited, kill,
    snapshot,
};
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Metadata, Subscriber};

use crate::sup_support::{
    Ask, Deed, LIMIT, Log, SECOND, Start, Stop, Worker, flags, part, paused, settle, start, unique,
};

/// One `tracing` event: its target's last word, its level, its fields.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    target: String,
    pub(crate) level: tracing::Level,
    fields: BTreeMap<&'static str, String>,
}

impl Report {
    pub(crate) fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }
}

#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<Report>>>);

impl Subscriber for Reports {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("byron_supervisors")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let target = metadata.target().rsplit("::").next();
        self.0.lock().push(Report {
            target: target.unwrap_or_default().to_owned(),
            level: *metadata.level(),
            fields: fields.0,
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

/// Runs a test; answers the supervisors' reports (`supervisor`), their progress (`progress`), or the crashes (`crash`).
pub(crate) fn reports<F: Future<Output = ()>>(target: &str, test: F) -> Vec<Report> {
    let reports = Reports::default();
    tracing::subscriber::with_default(reports.clone(), || paused(test));
    let mut all = reports.0.lock().clone();
    all.retain(|report| report.target == target);
    all
}

/// The report that there must be one of.
fn only(reports: Vec<Report>) -> Report {
    assert_eq!(reports.len(), 1, "{reports:#?}");
    reports.into_iter().next().expect("there is one")
}

/// All fields but those that no two runs share.
fn told(report: &Report) -> Vec<(&'static str, &str)> {
    let fields = report.fields.iter();
    fields
        .filter(|(name, _)| !["pid", "message"].contains(name))
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

#[test]
fn child_terminated_has_all_fields_of_the_offender() {
    let root = unique("root");
    let pid = Arc::new(Mutex::new(String::new()));
    let report = only(reports("supervisor", async {
        let spec = part("a", &Log::default())
            .restart(Restart::Transient)
            .shutdown(Shutdown::Timeout(SECOND));
        let sup = Supervisor::start(&root, flags(1), vec![spec])
            .await
            .expect("it starts");
        *pid.lock() = sup.pid_of("a").await.to_string();
        let deed = Deed::Leave(ExitReason::error("out of ink"));
        sup.end("a", deed).await;
    }));
    assert_eq!(
        report.level,
        tracing::Level::DEBUG,
        "the crash report has told it"
    );
    assert_eq!(
        told(&report),
        [
            ("child", "a"),
            ("child_type", "worker"),
            ("context", "child_terminated"),
            ("reason", "error: out of ink"),
            ("restart", "transient"),
            ("shutdown", "1000ms"),
            ("significant", "false"),
            ("supervisor", &*root),
        ]
    );
    assert_eq!(report.get("pid"), *pid.lock(), "the process that ended");
    assert_eq!(report.get("message"), "child_terminated: error: out of ink");
}

#[test]
fn an_end_is_reported_as_otp_reports_it() {
    let ends = [
        ("normal", Deed::Leave(ExitReason::Normal)),
        ("shutdown", Deed::Leave(ExitReason::SHUTDOWN)),
        (
            "shutdown: a term",
            Deed::Leave(ExitReason::shutdown("a term")),
        ),
        ("killed", Deed::Killed),
        ("noproc", Deed::Leave(ExitReason::NoProc)),
        (
            "error: an error",
            Deed::Leave(ExitReason::error("an error")),
        ),
    ];
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        for (number, (reason, deed)) in ends.clone().into_iter().enumerate() {
            let all = reports("supervisor", async {
                let child = part("a", &Log::default());
                let sup = crate::sup_support::start(flags(1), vec![child.restart(restart)]).await;
                sup.end("a", deed).await;
            });
            let is_reported = restart == Restart::Permanent || number > 2;
            let told: Vec<_> = all
                .iter()
                .map(|report| (report.get("context"), report.get("reason")))
                .collect();
            let wanted = [("child_terminated", reason)];
            assert_eq!(
                told,
                wanted[..usize::from(is_reported)],
                "{}",
                restart.name()
            );
        }
    }
}

#[test]
fn start_error_is_reported_at_init_and_at_each_failed_restart() {
    let at_init = only(reports("supervisor", async {
        let child = part("a", &Log::default()).never_starts();
        let failed = Supervisor::start("r", flags(1), vec![child.spec()]).await;
        assert!(failed.is_err());
    }));
    assert_eq!(
        (
            at_init.get("context"),
            at_init.get("reason"),
            at_init.get("pid")
        ),
        ("start_error", "error: no", "")
    );

    let at_restart = reports("supervisor", async {
        let child = part("a", &Log::default());
        let sup = crate::sup_support::start(flags(9), vec![child.spec()]).await;
        child.next_starts(vec![Start::Fail(ExitReason::error("no")); 2]);
        sup.end("a", Deed::Panic).await;
    });
    let contexts: Vec<_> = at_restart
        .iter()
        .map(|report| report.get("context"))
        .collect();
    assert_eq!(contexts, ["child_terminated", "start_error", "start_error"]);
}

#[test]
fn a_start_that_was_asked_for_and_fails_is_an_answer_and_no_report() {
    // OTP: `start_child` answers the error; only supervisors' own starts are reported.
    let all = reports("supervisor", async {
        let sup = crate::sup_support::start(flags(9), vec![]).await;
        let child = part("a", &Log::default()).never_starts();
        let failed = sup.send(StartChild(child.spec())).await;
        assert!(failed.expect("it lives").is_err());
    });
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn shutdown_error_is_reported_if_a_child_stops_otherwise_than_asked() {
    let why = |restart, shutdown, stop: Stop| {
        let all = reports("supervisor", async {
            let spec = part("a", &Log::default()).stops(stop).restart(restart);
            let sup = crate::sup_support::start(flags(9), vec![spec.shutdown(shutdown)]).await;
            let stopped = sup.send(TerminateChild("a".into())).await;
            assert_eq!(stopped, Ok(Ok(())));
        });
        assert!(all.len() <= 1, "{all:#?}");
        all.first().map(|report| {
            assert_eq!(report.get("context"), "shutdown_error");
            report.get("reason").to_owned()
        })
    };
    let slow = |reason| Stop::Slow(SECOND, reason);
    let timeout = Shutdown::Timeout(SECOND * 2);
    let (permanent, transient) = (Restart::Permanent, Restart::Transient);
    assert_eq!(why(permanent, timeout, Stop::AtOnce), None);
    assert_eq!(
        why(permanent, timeout, Stop::Stubborn).as_deref(),
        Some("killed")
    );
    assert_eq!(why(permanent, Shutdown::BrutalKill, Stop::AtOnce), None);
    let normal = || slow(ExitReason::Normal);
    assert_eq!(why(permanent, timeout, normal()).as_deref(), Some("normal"));
    assert_eq!(why(transient, timeout, normal()), None);
    let term = || slow(ExitReason::shutdown("a term"));
    assert_eq!(
        why(permanent, timeout, term()).as_deref(),
        Some("shutdown: a term")
    );
    assert_eq!(why(transient, timeout, term()), None);
    let error = slow(ExitReason::error("an error"));
    assert_eq!(
        why(transient, Shutdown::Infinity, error).as_deref(),
        Some("error: an error")
    );
}

#[test]
fn shutdown_is_reported_when_the_supervisor_gives_up() {
    let all = reports("supervisor", async {
        let spec = part("a", &Log::default()).spec();
        let sup = crate::sup_support::start(flags(0), vec![spec]).await;
        sup.end("a", Deed::Panic).await;
    });
    let contexts: Vec<_> = all.iter().map(|report| report.get("context")).collect();
    assert_eq!(contexts, ["child_terminated", "shutdown"]);
    assert_eq!(all[1].get("reason"), "reached_max_restart_intensity");
    assert_eq!(all[1].get("child"), "a");
}

#[test]
fn progress_is_reported_for_each_static_child_and_each_start() {
    let root = unique("root");
    let all = reports("progress", async {
        let log = Log::default();
        let sup = Supervisor::start(
            &root,
            flags(1),
            vec![
                part("a", &log).spec(),
                part("b", &log).starts([Start::Ignore]).spec(),
                ChildSpec::supervisor("c", flags(0), Vec::new),
            ],
        )
        .await
        .expect("they start");
        sup.end("a", Deed::Panic).await;
    });
    let children: Vec<_> = all.iter().map(|report| report.get("child")).collect();
    assert_eq!(children, ["a", "c", "a"]);
    assert_eq!(all[0].level, tracing::Level::INFO);
    assert_eq!(
        told(&all[1]),
        [
            ("child", "c"),
            ("child_type", "supervisor"),
            ("restart", "permanent"),
            ("shutdown", "infinity"),
            ("significant", "false"),
            ("supervisor", &*root),
        ]
    );
    let pids = [&all[0], &all[2]].map(|report| report.get("pid").parse::<Pid>());
    let [Ok(first), Ok(second)] = pids else {
        panic!("{pids:?}");
    };
    assert!(first < second, "the same child, started again");
}

fn dynamic(flags: DynamicFlags, stops: Vec<Stop>, deed: Option<Deed>) -> Vec<Report> {
    reports("supervisor", async {
        let sup = DynamicSupervisor::start(&unique("d"), flags)
            .await
            .expect("it starts");
        let log = Log::default();
        let mut last = None;
        for stop in stops {
            let part = part("x", &log).stops(stop);
            let start = StartDynamicChild::with_init(move || part.clone().init());
            last = sup.send(start).await.expect("it lives").expect("it starts");
        }
        let last = last.expect("there is a child");
        match deed {
            Some(deed) => {
                let worker = byron_supervisors::ActorRef::<Worker>::of(last).expect("a worker");
                worker.do_send(deed);
                exited(last).await;
                settle().await;
            }
            None => {
                let end = exited(sup.pid());
                exit(sup.pid(), ExitReason::SHUTDOWN);
                end.await;
            }
        }
    })
}

#[test]
fn no_progress_is_reported_for_dynamic_children() {
    let all = reports("progress", async {
        let sup = DynamicSupervisor::start(&unique("d"), DynamicFlags::new("x")).await;
        let sup = sup.expect("it starts");
        let part = part("x", &Log::default());
        let start = StartDynamicChild::with_init(move || part.clone().init());
        sup.send(start).await.expect("it lives").expect("it starts");
    });
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn a_dynamic_childs_crash_is_reported_with_the_templates_id() {
    let report = only(dynamic(
        DynamicFlags::new("download"),
        vec![Stop::AtOnce],
        Some(Deed::Leave(ExitReason::error("reset"))),
    ));
    assert_eq!(report.get("context"), "child_terminated");
    assert_eq!(report.get("child"), "download");
    assert_eq!(report.get("restart"), "temporary");
    assert!(report.get("pid").starts_with("<0."));
}

#[test]
fn shutdown_errors_of_dynamic_children_are_grouped() {
    let flags = DynamicFlags {
        shutdown: Shutdown::Timeout(SECOND),
        ..DynamicFlags::new("x")
    };
    let stops = vec![Stop::Stubborn, Stop::AtOnce, Stop::Stubborn, Stop::Panic];
    let all = dynamic(flags, stops, None);
    let mut told: Vec<_> = all
        .iter()
        .map(|report| {
            assert_eq!(report.get("context"), "shutdown_error");
            assert_eq!(report.get("pid"), "", "a group has no pid");
            (
                report.get("children"),
                report.get("reason").split(' ').next(),
            )
        })
        .collect();
    told.sort();
    assert_eq!(told, [("1", Some("panicked")), ("2", Some("killed"))]);
}

/// Shows the trees whenever something is reported.
struct Onlooker;

impl Subscriber for Onlooker {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("byron_supervisors")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        snapshot();
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A part of a spec that looks at the trees when it is dropped.
struct LastLook;

impl Drop for LastLook {
    fn drop(&mut self) {
        snapshot();
    }
}

/// Runs a test in a thread of its own: one that waits for its own lock fails, and does not hang.
fn unlocked<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        paused(test());
        done.send(())
    });
    is_done
        .recv_timeout(LIMIT / 4)
        .expect("nothing waits for ever");
}

#[test]
fn a_subscriber_may_take_a_snapshot() {
    unlocked(|| async {
        let _onlooker = tracing::subscriber::set_default(Onlooker);
        let log = Log::default();
        let sup = start(flags(1), vec![part("a", &log).spec()]).await;
        let dynamic = DynamicFlags {
            restart: Restart::Permanent,
            ..DynamicFlags::new("x")
        };
        let dynamic = DynamicSupervisor::start(&unique("dynamic"), dynamic)
            .await
            .expect("it starts");
        let child = part("x", &log);
        let child = dynamic.send(StartDynamicChild::with_init(move || child.clone().init()));
        let child = child
            .await
            .expect("it lives")
            .expect("it starts")
            .expect("it runs");
        for pid in [
            child,
            sup.send(WhichChildren::now()).await.expect("it lives")[0]
                .state
                .pid()
                .expect("it runs"),
        ] {
            kill(pid);
            exited(pid).await;
        }
        settle().await;
    });
}

#[test]
fn what_a_spec_holds_may_take_a_snapshot_when_it_goes() {
    unlocked(|| async {
        let log = Log::default();
        let sup = start(flags(0), vec![]).await;
        for (id, restart) in [("a", Restart::Permanent), ("b", Restart::Temporary)] {
            let (look, part) = (LastLook, part(id, &log));
            let spec = ChildSpec::with_init(id, move || {
                let _ = &look;
                part.clone().init()
            });
            let added = sup.send(StartChild(spec.restart(restart))).await;
            let pid = added
                .expect("it lives")
                .expect("it starts")
                .expect("it runs");
            if restart == Restart::Temporary {
                let end = exited(pid);
                kill(pid);
                end.await;
            } else {
                let stopped = sup.send(TerminateChild(id.into())).await;
                assert_eq!(stopped, Ok(Ok(())));
                assert_eq!(sup.send(DeleteChild(id.into())).await, Ok(Ok(())));
            }
            settle().await;
        }
    });
}
