//! Performs supervisor scenarios and prints what happened, for comparison with Erlang's own supervisor.
//!
//! One JSON object a line on standard input; on standard output, for each, one line an operation and `{"end":SEED}`.
//! `supervisors/tests/it/otp` writes the scenarios and compares. The clock is paused: a scenario takes the time that its
//! work takes, whatever timeouts it waits for.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    ActorRef, AutoShutdown, ChildError, ChildSpec, ChildState, ChildType, Context, CountChildren,
    DeleteChild, DynamicFlags, DynamicSupervisor, ExitReason, FailedToStartChild, GetChildSpec,
    Init, InvalidSpec, Pid, Restart, RestartChild, Shutdown, StartChild, StartChildError,
    StartDynamicChild, Strategy, SupFlags, Supervisor, TerminateChild, TerminateDynamicChild,
    WhichChildren, exit, exited, is_alive, kill,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

fn main() -> io::Result<()> {
    let system = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime with a paused clock")
    });
    let mut stdout = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let scenario: Value = serde_json::from_str(&line).map_err(io::Error::other)?;
        for line in system.block_on(perform(&scenario)) {
            writeln!(stdout, "{line}")?;
        }
        writeln!(stdout, "{}", json!({ "end": scenario["seed"] }))?;
        stdout.flush()?;
    }
    Ok(())
}

// ---- what happened

type Recorder = Arc<Mutex<Records>>;

#[derive(Default)]
struct Records {
    attempts: HashMap<String, u64>,
    /// Processes in order of birth, with the outcome of their start.
    processes: Vec<Process>,
    by_pid: HashMap<Pid, usize>,
    templates: HashMap<String, Value>,
    events: Vec<Value>,
    stops: Vec<Value>,
    downs: Vec<Value>,
    calls: Vec<Value>,
    /// Whether each supervisor is dynamic.
    dynamic: HashMap<String, bool>,
    /// Calls made by inits that have no answer yet.
    asking: usize,
}

#[derive(Clone)]
struct Process {
    id: String,
    n: u64,
    pid: Pid,
    is_down: bool,
}

impl Records {
    fn attempt(&mut self, id: &str) -> u64 {
        let n = self.attempts.entry(id.to_owned()).or_default();
        *n += 1;
        *n
    }

    fn lookup(&self, id: &str) -> Option<Pid> {
        self.processes
            .iter()
            .rev()
            .find(|process| process.id == id && is_alive(process.pid))
            .map(|process| process.pid)
    }

    fn latest(&self, id: &str) -> Option<Pid> {
        self.processes
            .iter()
            .rev()
            .find(|process| process.id == id)
            .map(|process| process.pid)
    }

    fn name(&self, pid: Pid) -> (String, u64) {
        self.by_pid.get(&pid).map_or_else(
            || (format!("{pid}"), 0),
            |at| (self.processes[*at].id.clone(), self.processes[*at].n),
        )
    }
}

/// Notes a process that is starting, and its end when it comes. A supervisor whose start fails was never there.
fn watch(recorder: &Recorder, id: &str, n: u64, pid: Pid) {
    let at = {
        let mut records = recorder.lock();
        let at = records.processes.len();
        records.processes.push(Process {
            id: id.to_owned(),
            n,
            pid,
            is_down: false,
        });
        records.by_pid.insert(pid, at);
        at
    };
    let recorder = Arc::clone(recorder);
    let (id, end) = (id.to_owned(), exited(pid));
    actix_rt::spawn(async move {
        let reason = end.await;
        let mut records = recorder.lock();
        records.processes[at].is_down = true;
        if !is_failed_start(&reason) {
            records.downs.push(json!([id, n, reason_text(&reason)]));
        }
    });
}

fn is_failed_start(reason: &ExitReason) -> bool {
    match reason {
        ExitReason::Shutdown(Some(term)) => term.downcast_ref::<FailedToStartChild>().is_some(),
        ExitReason::Error(cause) => cause.downcast_ref::<InvalidSpec>().is_some(),
        _ => false,
    }
}

fn reason_text(reason: &ExitReason) -> String {
    match reason {
        ExitReason::Normal => "normal".into(),
        ExitReason::Shutdown(None) => "shutdown".into(),
        ExitReason::Shutdown(Some(term)) => match term.downcast_ref::<FailedToStartChild>() {
            Some(failed) => format!(
                "failed_to_start_child({},{})",
                failed.id,
                reason_text(&failed.reason)
            ),
            None => format!("shutdown:{term}"),
        },
        ExitReason::Error(cause) => match cause.downcast_ref::<InvalidSpec>() {
            Some(InvalidSpec::DuplicateId(_)) => "start_spec:duplicate_child_name".into(),
            Some(_) => "start_spec:bad_combination".into(),
            None => cause.to_string(),
        },
        other => other.kind().into(),
    }
}

fn reason_of(text: &str) -> ExitReason {
    match text {
        "normal" => ExitReason::Normal,
        "shutdown" => ExitReason::SHUTDOWN,
        text => match text.strip_prefix("shutdown:") {
            Some(term) => ExitReason::shutdown(term),
            None => ExitReason::error(text),
        },
    }
}

// ---- workers

struct Worker {
    recorder: Recorder,
    id: String,
    n: u64,
    trap_exit: bool,
    stubborn: bool,
    on_stop_kill: Option<String>,
    is_instance: bool,
    ends_by_itself: bool,
    is_done: bool,
}

#[derive(Message)]
#[rtype(result = "()")]
struct End(ExitReason);

impl Actor for Worker {
    type Context = Context<Self>;

    fn stopping(&mut self, ctx: &mut Context<Self>) -> Running {
        if self.is_done {
            return Running::Stop;
        }
        if self.stubborn && !self.ends_by_itself {
            return Running::Continue;
        }
        let reason = ctx.exit_reason().cloned().unwrap_or(ExitReason::Normal);
        if self.trap_exit {
            let stop = json!([self.id, self.n, reason_text(&reason)]);
            let mut records = self.recorder.lock();
            // The order in which orphans of a killed supervisor end means nothing.
            if self.is_instance || matches!(reason, ExitReason::Killed) {
                records.stops.push(stop);
            } else {
                records
                    .events
                    .push(json!(["stop", self.id, self.n, reason_text(&reason)]));
            }
        }
        let victim = match (&self.on_stop_kill, self.ends_by_itself) {
            (Some(victim), false) if self.trap_exit => self.recorder.lock().lookup(victim),
            _ => None,
        };
        let Some(victim) = victim else {
            return Running::Stop;
        };
        self.is_done = true;
        kill(victim);
        exited(victim)
            .into_actor(self)
            .map(move |_, _, ctx| ctx.exit(reason))
            .spawn(ctx);
        Running::Continue
    }
}

impl Handler<End> for Worker {
    type Result = ();

    fn handle(&mut self, End(reason): End, ctx: &mut Context<Self>) {
        self.ends_by_itself = true;
        ctx.exit(reason);
    }
}

/// What the n-th start of a worker does.
fn outcome(child: &Value, n: u64) -> Value {
    let outcomes = child["init"].as_array().cloned().unwrap_or_default();
    let at = (n as usize - 1).min(outcomes.len().saturating_sub(1));
    outcomes.get(at).cloned().unwrap_or(json!("ok"))
}

async fn init_worker(
    recorder: Recorder,
    sup: String,
    child: Value,
    is_instance: bool,
) -> Result<Init<Worker>, ExitReason> {
    let id = text(&child["id"]).to_owned();
    let pid = byron_supervisors::current_pid().expect("an init runs in its process");
    let n = recorder.lock().attempt(&id);
    let outcome = outcome(&child, n);
    let out = outcome
        .get("out")
        .unwrap_or(&outcome)
        .as_str()
        .unwrap_or("ok")
        .to_owned();
    recorder.lock().events.push(json!(["start", id, n, out]));
    if !matches!(out.as_str(), "error" | "ignore") {
        watch(&recorder, &id, n, pid);
    }
    if let Some(op) = outcome.get("call") {
        call_from_init(&recorder, &sup, &id, n, op);
    }
    if let Some(victim) = outcome.get("kill").and_then(Value::as_str) {
        let victim = recorder.lock().lookup(victim);
        if let Some(victim) = victim {
            kill(victim);
            exited(victim).await;
        }
    }
    match out.as_str() {
        "error" => Err(ExitReason::error("init_error")),
        "ignore" => Ok(Init::Ignore),
        _ => Ok(Init::Ready(Worker {
            recorder,
            n,
            trap_exit: child["trap_exit"] == true,
            stubborn: child["stubborn"] == true,
            on_stop_kill: child
                .get("on_stop_kill")
                .and_then(Value::as_str)
                .map(str::to_owned),
            is_instance,
            ends_by_itself: false,
            is_done: false,
            id,
        })),
    }
}

/// Puts a call into the supervisor's queue and does not wait for the answer.
fn call_from_init(recorder: &Recorder, sup: &str, id: &str, n: u64, op: &Value) {
    let mut op = op.clone();
    op["sup"] = json!(sup);
    let name = text(&op["op"]).to_owned();
    let (id, recorder) = (id.to_owned(), Arc::clone(recorder));
    recorder.lock().asking += 1;
    let result = call(&recorder, &op);
    actix_rt::spawn(async move {
        let result = result.await;
        let mut records = recorder.lock();
        records.asking -= 1;
        records.calls.push(json!([id, n, name, result]));
    });
}

// ---- specs

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn restart_of(child: &Value) -> Restart {
    match text(&child["restart"]) {
        "transient" => Restart::Transient,
        "temporary" => Restart::Temporary,
        _ => Restart::Permanent,
    }
}

fn shutdown_of(child: &Value) -> Shutdown {
    match (&child["shutdown"], text(&child["shutdown"])) {
        (_, "brutal_kill") => Shutdown::BrutalKill,
        (_, "infinity") => Shutdown::Infinity,
        (millis, _) => Shutdown::Timeout(Duration::from_millis(millis.as_u64().unwrap_or(5000))),
    }
}

fn auto_shutdown_of(sup: &Value) -> AutoShutdown {
    match text(&sup["auto_shutdown"]) {
        "any_significant" => AutoShutdown::AnySignificant,
        "all_significant" => AutoShutdown::AllSignificant,
        _ => AutoShutdown::Never,
    }
}

fn flags_of(sup: &Value) -> SupFlags {
    SupFlags {
        strategy: match text(&sup["strategy"]) {
            "one_for_all" => Strategy::OneForAll,
            "rest_for_one" => Strategy::RestForOne,
            _ => Strategy::OneForOne,
        },
        intensity: sup["intensity"].as_u64().unwrap_or(1) as u32,
        period: Duration::from_secs(sup["period"].as_u64().unwrap_or(5)),
        auto_shutdown: auto_shutdown_of(sup),
    }
}

fn is_dynamic(sup: &Value) -> bool {
    sup["strategy"] == "simple_one_for_one"
}

fn dynamic_flags_of(sup: &Value) -> DynamicFlags {
    let template = &sup["children"][0];
    let mut flags = DynamicFlags::new(text(&template["id"]));
    flags.restart = restart_of(template);
    flags.shutdown = shutdown_of(template);
    flags.significant = template["significant"] == true;
    flags.intensity = sup["intensity"].as_u64().unwrap_or(1) as u32;
    flags.period = Duration::from_secs(sup["period"].as_u64().unwrap_or(5));
    flags.auto_shutdown = auto_shutdown_of(sup);
    flags
}

fn spec_of(recorder: &Recorder, sup: &str, child: &Value) -> ChildSpec {
    let id = text(&child["id"]).to_owned();
    let (recorder, spec) = (Arc::clone(recorder), child.clone());
    let spec = if child["type"] == "supervisor" {
        let spec = if is_dynamic(child) {
            ChildSpec::new(id, move |ctx: &mut Context<DynamicSupervisor>| {
                make_dynamic(&recorder, &spec, ctx.pid())
            })
        } else {
            ChildSpec::new(id, move |ctx: &mut Context<Supervisor>| {
                make_static(&recorder, &spec, ctx.pid())
            })
        };
        spec.child_type(ChildType::Supervisor).start_timeout(None)
    } else {
        let sup = sup.to_owned();
        ChildSpec::with_init(id, move || {
            init_worker(Arc::clone(&recorder), sup.clone(), spec.clone(), false)
        })
    };
    spec.restart(restart_of(child))
        .shutdown(shutdown_of(child))
        .significant(child["significant"] == true)
}

fn begin_supervisor(recorder: &Recorder, sup: &Value, pid: Pid) {
    let id = text(&sup["id"]).to_owned();
    let n = {
        let mut records = recorder.lock();
        let n = records.attempt(&id);
        records.events.push(json!(["start", id, n, "sup"]));
        records.dynamic.insert(id.clone(), is_dynamic(sup));
        if is_dynamic(sup) {
            records
                .templates
                .insert(id.clone(), sup["children"][0].clone());
        }
        n
    };
    watch(recorder, &id, n, pid);
}

fn make_static(recorder: &Recorder, sup: &Value, pid: Pid) -> Supervisor {
    begin_supervisor(recorder, sup, pid);
    let id = text(&sup["id"]);
    let children = sup["children"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    Supervisor::new(
        flags_of(sup),
        children
            .iter()
            .map(|child| spec_of(recorder, id, child))
            .collect(),
    )
}

fn make_dynamic(recorder: &Recorder, sup: &Value, pid: Pid) -> DynamicSupervisor {
    begin_supervisor(recorder, sup, pid);
    DynamicSupervisor::new(dynamic_flags_of(sup))
}

// ---- operations

type Answer = std::pin::Pin<Box<dyn Future<Output = Value>>>;

fn now(value: Value) -> Answer {
    Box::pin(std::future::ready(value))
}

fn noproc<T>(_: T) -> Value {
    json!("noproc")
}

fn started(recorder: &Recorder, outcome: Result<Option<Pid>, StartChildError>) -> Value {
    let records = recorder.lock();
    match outcome {
        Ok(None) => json!({ "ok": null }),
        Ok(Some(pid)) => {
            let (id, n) = records.name(pid);
            json!({ "ok": [id, n] })
        }
        Err(StartChildError::AlreadyPresent) => json!({ "error": "already_present" }),
        Err(StartChildError::AlreadyStarted(pid)) => {
            let (id, n) = records.name(pid);
            json!({ "error": ["already_started", id, n] })
        }
        Err(StartChildError::Failed(reason)) => {
            json!({ "error": ["start_failed", reason_text(&reason)] })
        }
        Err(StartChildError::Invalid(_)) => json!({ "error": "bad_combination" }),
        Err(other) => json!({ "error": other.to_string() }),
    }
}

fn child_error(error: &ChildError) -> Value {
    match error {
        ChildError::NotFound => json!({ "error": "not_found" }),
        ChildError::Running => json!({ "error": "running" }),
        ChildError::Restarting => json!({ "error": "restarting" }),
        ChildError::Failed(reason) => json!({ "error": ["start_failed", reason_text(reason)] }),
        other => json!({ "error": other.to_string() }),
    }
}

fn done(outcome: Result<(), ChildError>) -> Value {
    outcome.map_or_else(|error| child_error(&error), |()| json!("ok"))
}

fn which_json(
    recorder: &Recorder,
    children: Vec<byron_supervisors::ChildInfo>,
    is_dynamic: bool,
) -> Value {
    let records = recorder.lock();
    let mut rows: Vec<_> = children
        .into_iter()
        .map(|child| {
            let child_type = if child.child_type == ChildType::Supervisor {
                "supervisor"
            } else {
                "worker"
            };
            let known = match &child.state {
                ChildState::Restarting { was, .. } => *was,
                state => state.pid(),
            };
            let (name, n) = known.map_or((child.id.to_string(), 0), |pid| records.name(pid));
            let id = if is_dynamic {
                name
            } else {
                child.id.to_string()
            };
            match child.state {
                ChildState::Restarting { .. } => json!([id, child_type, "restarting", null]),
                ChildState::Stopped => json!([id, child_type, "undefined", null]),
                _ => json!([id, child_type, "alive", n]),
            }
        })
        .collect();
    if is_dynamic {
        rows.sort_by_key(|row| text(&row[0]).to_owned());
    }
    json!(rows)
}

/// Starts an API call; the message is in the supervisor's mailbox when this returns.
fn call(recorder: &Recorder, op: &Value) -> Answer {
    let sup = text(&op["sup"]);
    let (pid, is_dynamic) = {
        let records = recorder.lock();
        (
            records.lookup(sup),
            records.dynamic.get(sup).copied().unwrap_or(false),
        )
    };
    let Some(pid) = pid else {
        return now(json!("noproc"));
    };
    if is_dynamic {
        ActorRef::of(pid).map_or_else(
            || now(json!("noproc")),
            |supervisor| call_dynamic(recorder, &supervisor, sup, op),
        )
    } else {
        ActorRef::of(pid).map_or_else(
            || now(json!("noproc")),
            |supervisor| call_static(recorder, &supervisor, sup, op),
        )
    }
}

fn call_static(
    recorder: &Recorder,
    supervisor: &ActorRef<Supervisor>,
    sup: &str,
    op: &Value,
) -> Answer {
    let recorder = Arc::clone(recorder);
    let id: Arc<str> = text(&op["id"]).into();
    match text(&op["op"]) {
        "start_child" => {
            let request = supervisor.send(StartChild(spec_of(&recorder, sup, &op["child"])));
            Box::pin(async move {
                request
                    .await
                    .map_or_else(noproc, |outcome| started(&recorder, outcome))
            })
        }
        "terminate_child" => {
            let request = supervisor.send(TerminateChild(id));
            Box::pin(async move { request.await.map_or_else(noproc, done) })
        }
        "restart_child" => {
            let request = supervisor.send(RestartChild(id));
            Box::pin(async move {
                request.await.map_or_else(noproc, |outcome| match outcome {
                    Ok(pid) => started(&recorder, Ok(pid)),
                    Err(error) => child_error(&error),
                })
            })
        }
        "delete_child" => {
            let request = supervisor.send(DeleteChild(id));
            Box::pin(async move { request.await.map_or_else(noproc, done) })
        }
        "get_childspec" => {
            let request = supervisor.send(GetChildSpec::settled(id));
            Box::pin(async move {
                request
                    .await
                    .map_or_else(noproc, |spec| spec_json(spec, None))
            })
        }
        "which_children" => {
            let request = supervisor.send(WhichChildren::settled());
            Box::pin(async move {
                request
                    .await
                    .map_or_else(noproc, |children| which_json(&recorder, children, false))
            })
        }
        _ => {
            let request = supervisor.send(CountChildren::settled());
            Box::pin(async move { request.await.map_or_else(noproc, count_json) })
        }
    }
}

fn call_dynamic(
    recorder: &Recorder,
    supervisor: &ActorRef<DynamicSupervisor>,
    sup: &str,
    op: &Value,
) -> Answer {
    let recorder = Arc::clone(recorder);
    let template = recorder
        .lock()
        .templates
        .get(sup)
        .cloned()
        .unwrap_or_default();
    let id = text(&op["id"]);
    let is_template = template["id"] == id;
    let instance = recorder.lock().latest(id);
    match text(&op["op"]) {
        "start_child" => {
            let mut child = template;
            child["id"] = op["args"]["id"].clone();
            child["init"] = op["args"]["init"].clone();
            let (own, sup) = (Arc::clone(&recorder), sup.to_owned());
            let start = StartDynamicChild::with_init(move || {
                init_worker(Arc::clone(&own), sup.clone(), child.clone(), true)
            });
            let request = supervisor.send(start);
            Box::pin(async move {
                request
                    .await
                    .map_or_else(noproc, |outcome| started(&recorder, outcome))
            })
        }
        "which_children" => {
            let request = supervisor.send(WhichChildren::settled());
            Box::pin(async move {
                request
                    .await
                    .map_or_else(noproc, |children| which_json(&recorder, children, true))
            })
        }
        "count_children" => {
            let request = supervisor.send(CountChildren::settled());
            Box::pin(async move { request.await.map_or_else(noproc, count_json) })
        }
        _ if !is_template && instance.is_none() => now(json!("unknown_child")),
        "get_childspec" => {
            let template_id = text(&template["id"]).to_owned();
            let request = supervisor.send(GetChildSpec::settled(template_id.as_str()));
            Box::pin(async move {
                request
                    .await
                    .map_or_else(noproc, |spec| spec_json(spec, Some(&template_id)))
            })
        }
        // Calls that byron's dynamic supervisor does not have; OTP's has them only to refuse.
        "terminate_child" if !is_template => {
            let Some(pid) = instance else {
                return now(json!("unknown_child"));
            };
            let request = supervisor.send(TerminateDynamicChild(pid));
            Box::pin(async move { request.await.map_or_else(noproc, done) })
        }
        _ => {
            let request = supervisor.send(CountChildren::settled());
            Box::pin(async move {
                request
                    .await
                    .map_or_else(noproc, |_| json!({ "error": "simple_one_for_one" }))
            })
        }
    }
}

fn count_json(counts: byron_supervisors::ChildCounts) -> Value {
    json!({
        "specs": counts.specs, "active": counts.active, "supervisors": counts.supervisors, "workers": counts.workers,
    })
}

fn spec_json(
    spec: Result<byron_supervisors::ChildSpecInfo, ChildError>,
    _template: Option<&str>,
) -> Value {
    match spec {
        Err(error) => child_error(&error),
        Ok(spec) => json!({ "ok": {
            "id": &*spec.id,
            "type": spec.child_type.name(),
            "restart": spec.restart.name(),
            "shutdown": match spec.shutdown {
                Shutdown::BrutalKill => json!("brutal_kill"),
                Shutdown::Infinity => json!("infinity"),
                Shutdown::Timeout(limit) => json!(limit.as_millis() as u64),
            },
            "significant": spec.significant,
        }}),
    }
}

// ---- a scenario

enum Root {
    NotStarted,
    Alive(Pid),
    Dead(String),
}

struct Stage {
    recorder: Recorder,
    root: Root,
}

async fn perform(scenario: &Value) -> Vec<String> {
    let recorder = Recorder::default();
    let mut stage = Stage {
        recorder: Arc::clone(&recorder),
        root: Root::NotStarted,
    };
    let mut lines = Vec::new();
    let result = stage.start_root(&scenario["tree"]).await;
    lines.push(stage.line(-1, result).await);
    for (number, op) in scenario["ops"].as_array().into_iter().flatten().enumerate() {
        let result = stage.operate(op).await;
        lines.push(stage.line(number as i64, result).await);
    }
    let processes = recorder.lock().processes.clone();
    for process in processes {
        kill(process.pid);
        exited(process.pid).await;
    }
    lines
}

impl Stage {
    async fn start_root(&mut self, tree: &Value) -> Value {
        let recorder = Arc::clone(&self.recorder);
        let pid = if is_dynamic(tree) {
            DynamicSupervisor::start_with("root", |ctx| make_dynamic(&recorder, tree, ctx.pid()))
                .await
                .map(|root| root.pid())
        } else {
            Supervisor::start_with("root", |ctx| make_static(&recorder, tree, ctx.pid()))
                .await
                .map(|root| root.pid())
        };
        match pid {
            Ok(pid) => {
                self.root = Root::Alive(pid);
                json!("ok")
            }
            Err(reason) => {
                let reason = reason_text(&reason);
                self.root = Root::Dead(reason.clone());
                json!({ "error": ["start_failed", reason] })
            }
        }
    }

    async fn operate(&mut self, op: &Value) -> Value {
        let root = match &self.root {
            Root::Alive(pid) => *pid,
            _ if op["op"] == "sleep" => return json!("ok"),
            _ => return json!("noproc"),
        };
        match text(&op["op"]) {
            "exit" => {
                let Some(pid) = self.recorder.lock().lookup(text(&op["id"])) else {
                    return json!("noproc");
                };
                let end = exited(pid);
                match text(&op["reason"]) {
                    "kill" => kill(pid),
                    reason => {
                        // A supervisor can only be killed.
                        let Some(worker) = ActorRef::<Worker>::of(pid) else {
                            return json!("noproc");
                        };
                        worker.do_send(End(reason_of(reason)));
                    }
                }
                end.await;
                json!("ok")
            }
            "sleep" => {
                actix_rt::time::sleep(Duration::from_millis(op["ms"].as_u64().unwrap_or(0))).await;
                json!("ok")
            }
            "stop_root" => {
                let end = exited(root);
                exit(root, ExitReason::SHUTDOWN);
                end.await;
                json!("ok")
            }
            _ => call(&self.recorder, op).await,
        }
    }

    /// Waits until nothing more will happen, then tells what has.
    async fn line(&mut self, number: i64, result: Value) -> String {
        let tree = self.settle().await;
        if let Root::Alive(pid) = self.root
            && !is_alive(pid)
        {
            let downs = &self.recorder.lock().downs;
            let reason = downs
                .iter()
                .rev()
                .find(|down| down[0] == "root")
                .map(|down| text(&down[2]).to_owned());
            self.root = Root::Dead(reason.unwrap_or_default());
        }
        let root = match &self.root {
            Root::Alive(_) => "alive".to_owned(),
            Root::Dead(reason) => reason.clone(),
            Root::NotStarted => String::new(),
        };
        let mut records = self.recorder.lock();
        let records = &mut *records;
        json!({
            "op": number,
            "result": result,
            "events": std::mem::take(&mut records.events),
            "stops": std::mem::take(&mut records.stops),
            "downs": std::mem::take(&mut records.downs),
            "calls": std::mem::take(&mut records.calls),
            "root": root,
            "tree": tree,
        })
        .to_string()
    }

    /// The tree, once every supervisor has done what it had to and every end is known.
    async fn settle(&self) -> Value {
        let mut before = None;
        loop {
            // The clock only moves when every task is idle.
            actix_rt::time::sleep(Duration::from_millis(1)).await;
            let tree = self.tree().await;
            let records = self.recorder.lock();
            let all_known = records
                .processes
                .iter()
                .all(|process| process.is_down || is_alive(process.pid));
            let is_restarting = tree.to_string().contains("\"restarting\"");
            let alive = records
                .processes
                .iter()
                .filter(|process| !process.is_down)
                .count();
            let listed: usize = tree.as_object().map_or(0, |tree| {
                tree.len()
                    + tree
                        .values()
                        .flat_map(|rows| rows.as_array())
                        .flatten()
                        .filter(|row| row[1] == "worker" && row[2] == "alive")
                        .count()
            });
            let now = (
                records.events.len(),
                records.downs.len(),
                records.stops.len(),
                records.calls.len(),
                tree.to_string(),
            );
            let is_quiet = all_known && !is_restarting && records.asking == 0 && alive == listed;
            drop(records);
            if is_quiet && before.as_ref() == Some(&now) {
                return tree;
            }
            before = Some(now);
        }
    }

    async fn tree(&self) -> Value {
        let mut tree = serde_json::Map::new();
        let Root::Alive(root) = self.root else {
            return Value::Object(tree);
        };
        if !is_alive(root) {
            return Value::Object(tree);
        }
        let mut left = vec!["root".to_owned()];
        while let Some(sup) = left.pop() {
            let rows = call(
                &self.recorder,
                &json!({ "op": "which_children", "sup": sup }),
            )
            .await;
            for row in rows.as_array().into_iter().flatten() {
                if row[1] == "supervisor" && row[2] == "alive" {
                    left.push(text(&row[0]).to_owned());
                }
            }
            tree.insert(sup, rows);
        }
        Value::Object(tree)
    }
}
