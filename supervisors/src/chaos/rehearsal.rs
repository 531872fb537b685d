//! [`Rehearsal`]: rules in force, and the books that are kept meanwhile.
//!
//! When no rules are in force a start costs one relaxed load here, and a turn nothing. When some are, each start of a
//! supervised process looks through the rules once; only a process for which they have something in store carries a
//! [`Fate`] through its turns.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::report::{BudgetUse, ChaosReport, RecoveryTimes, RuleReport, Struck};
use super::{Chaos, Fault, Names, Pattern, hash_text, mix};
use crate::child_spec::ChildId;
use crate::event::{self, Draft, EventKind};
use crate::fault::{CustomFault, Doom, Fate};
use crate::intensity::Budget;
use crate::path::{Label, Path};
use crate::pid::Pid;

/// How many faults a report names one by one.
pub const STRUCK_MAX: usize = 10_000;

/// How many places that fell and are not ready again are remembered; what falls beyond is counted, but its recovery is
/// not.
pub const OPEN_FALLS_MAX: usize = 10_000;

/// How many recoveries of one rule are remembered for their times.
const TIMES_MAX: usize = 10_000;

/// Rules are in force, or starts are to fail: hooks look further.
static ON: AtomicBool = AtomicBool::new(false);
static STAGES: RwLock<Vec<Arc<Stage>>> = RwLock::new(Vec::new());
static FAIL_STARTS: Mutex<Vec<FailStarts>> = Mutex::new(Vec::new());
static COUNTS: Mutex<Option<Counts>> = Mutex::new(None);

/// Who lived where, since the first rules came in force.
#[derive(Default)]
struct Counts {
    /// The lives of each static place.
    lives: HashMap<Path, u32>,
    /// The last number of each template below each parent of dynamic supervisors.
    ordinals: HashMap<(Path, ChildId), u64>,
}

struct FailStarts {
    pattern: Pattern,
    left: u32,
}

/// Rules in force, until this is dropped: processes that start from now on meet what the rules have in store for them.
///
/// ```
/// # use byron_supervisors::chaos::Chaos;
/// let chaos = Chaos::parse("poems/*:panic@10%").expect("a rule");
/// let rehearsal = chaos.rehearse(7);
/// // … start the tree, let it work, stop it …
/// let report = rehearsal.report();
/// assert_eq!(report.rules[0].struck, 0);
/// println!("{report}");
/// ```
#[must_use = "the rules are in force until this is dropped"]
#[derive(Debug)]
pub struct Rehearsal(Arc<Stage>);

/// The rules of one rehearsal and its books.
#[derive(Debug)]
pub(crate) struct Stage {
    chaos: Chaos,
    seed: u64,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    rules: Vec<RuleBook>,
    struck: Vec<Struck>,
    /// Places that fell: by which rule, and when.
    falls: HashMap<Path, Vec<(usize, Instant)>>,
    budgets: BTreeMap<String, BudgetUse>,
}

#[derive(Debug, Clone, Default)]
struct RuleBook {
    struck: u64,
    recovered: u64,
    for_good: u64,
    times: Vec<Duration>,
}

impl Chaos {
    /// Puts the rules in force, in the whole program. Other rehearsals may be in force at the same time; where several have
    /// something in store for one process, each has its turn.
    pub fn rehearse(self, seed: u64) -> Rehearsal {
        let books = Books {
            rules: vec![RuleBook::default(); self.rules.len()],
            ..Books::default()
        };
        let stage = Arc::new(Stage {
            chaos: self,
            seed,
            books: Mutex::new(books),
        });
        let mut stages = STAGES.write();
        stages.push(Arc::clone(&stage));
        ON.store(true, Ordering::Relaxed);
        Rehearsal(stage)
    }
}

impl Rehearsal {
    /// The seed.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// What it has come to so far.
    pub fn report(&self) -> ChaosReport {
        let Stage { chaos, seed, books } = &*self.0;
        let books = books.lock();
        let rules = chaos.rules.iter().zip(&books.rules);
        let mut struck = books.struck.clone();
        struck.sort();
        ChaosReport {
            rules_text: chaos.to_string(),
            seed: *seed,
            rules: rules
                .map(|(rule, book)| RuleReport {
                    rule: rule.to_string(),
                    struck: book.struck,
                    recovered: book.recovered,
                    for_good: book.for_good,
                    recovery: RecoveryTimes::of(&book.times),
                })
                .collect(),
            budgets: books.budgets.values().cloned().collect(),
            struck,
        }
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        let mut stages = STAGES.write();
        stages.retain(|stage| !Arc::ptr_eq(stage, &self.0));
        turn_off_if_idle(&stages);
    }
}

/// Called with a lock of `STAGES` held, so that nobody turns it on meanwhile.
fn turn_off_if_idle(stages: &[Arc<Stage>]) {
    if stages.is_empty() {
        *COUNTS.lock() = None;
        let is_on = !FAIL_STARTS.lock().is_empty();
        ON.store(is_on, Ordering::Relaxed);
    }
}

/// The next `count` starts of whatever the pattern matches fail.
#[cfg(feature = "testing")]
pub(crate) fn fail_starts(pattern: Pattern, count: u32) {
    let _stages = STAGES.write();
    FAIL_STARTS.lock().push(FailStarts {
        pattern,
        left: count,
    });
    ON.store(true, Ordering::Relaxed);
}

pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

// ---- what supervisors say

/// What a supervisor knows of a child that it is about to start.
pub(crate) struct Lot {
    /// Of a dynamic child: its template, and its number among all of that template.
    pub(crate) template: Option<(ChildId, u64)>,
    /// Whether a crash would be followed by another start.
    pub(crate) is_restarted: bool,
}

/// A lot, if it matters.
pub(crate) fn lot(make: impl FnOnce() -> Lot) -> Option<Lot> {
    is_on().then(make)
}

/// The number of a new dynamic child; 0 while nobody counts.
pub(crate) fn next_ordinal(supervisor: &Path, template: &ChildId) -> u64 {
    if !is_on() {
        return 0;
    }
    let key = (shared_parent(supervisor).clone(), Arc::clone(template));
    let mut counts = COUNTS.lock();
    let last = counts.get_or_insert_default().ordinals.entry(key);
    let last = last.or_insert(0);
    *last += 1;
    *last
}

/// Dynamic supervisors beside each other count together.
fn shared_parent(supervisor: &Path) -> &Path {
    supervisor.parent().unwrap_or(supervisor)
}

/// A supervisor counts a restart against its intensity, and performs it if it is admitted.
pub(crate) fn counted(supervisor: &Path, budget: Budget, is_admitted: bool) {
    if !is_on() {
        return;
    }
    let stages = STAGES.read();
    for stage in stages.iter().filter(|_| budget.limit < u32::MAX) {
        let mut books = stage.books.lock();
        let supervisor = supervisor.to_string();
        let most = books
            .budgets
            .entry(supervisor.clone())
            .or_insert(BudgetUse {
                supervisor,
                used_max: 0,
                intensity: budget.limit,
                period: budget.period,
                gave_up: 0,
            });
        most.used_max = most.used_max.max(budget.used);
        most.gave_up += u64::from(!is_admitted);
    }
}

// ---- what a process is born with

/// Whom a fault befalls.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) pid: Pid,
    path: Path,
    incarnation: u32,
    /// What [`Struck`] says of it.
    place: String,
    number: u64,
    life: u32,
    is_restarted: bool,
}

/// What the rules in force have in store for a process that is about to start; `None` is the usual answer.
pub(crate) fn fate_of(
    label: &Label,
    pid: Pid,
    actor: &'static str,
    lot: Lot,
) -> Option<(Fate, Vec<CustomFault>)> {
    let stages = STAGES.read();
    let path = label.path.to_string();
    let (place, number, life) = match &lot.template {
        Some((template, number)) => {
            let supervisor = label.path.parent().unwrap_or(&label.path);
            let place = format!("{}/{template}", shared_parent(supervisor));
            (place, *number, label.incarnation)
        }
        None => (path.clone(), 0, next_life(&label.path)),
    };
    let names = Names {
        path: &path,
        template: lot.template.as_ref().map(|(template, _)| &**template),
        actor,
    };
    let hash = mix(hash_text(&place), number);
    // What nobody would mend: it ends a tree, or is told to whoever asked for the child.
    let is_spared =
        (lot.template.is_none() || lot.is_restarted) && life == 1 && label.incarnation == 1;
    let (mut dooms, mut custom, mut start) = (Vec::new(), Vec::new(), None);
    for stage in stages.iter() {
        for (number, rule) in stage.chaos.rules.iter().enumerate() {
            if !rule.pattern.matches(names) {
                continue;
            }
            let Some(draw) = rule.draw(stage.seed, hash, life) else {
                continue;
            };
            let doom = Doom {
                stage: Arc::clone(stage),
                rule: number,
                fault: rule.fault,
                draw,
            };
            match rule.fault {
                Fault::Start if is_spared => {}
                Fault::Start => start = start.or(Some(doom)),
                Fault::Custom(_) => custom.push(doom),
                _ => dooms.push(doom),
            }
        }
    }
    let recovers: Vec<_> = stages
        .iter()
        .filter(|stage| stage.books.lock().falls.contains_key(&label.path))
        .cloned()
        .collect();
    let must_fail = must_fail_start(names, &stages);
    if dooms.is_empty() && custom.is_empty() && start.is_none() && recovers.is_empty() && !must_fail
    {
        return None;
    }
    let subject = Arc::new(Subject {
        pid,
        path: label.path.clone(),
        incarnation: label.incarnation,
        place,
        number,
        life,
        is_restarted: lot.is_restarted,
    });
    let custom = custom
        .into_iter()
        .map(|doom| CustomFault::new(doom, Arc::clone(&subject)))
        .collect();
    Some((
        Fate::new(subject, dooms, start, must_fail, recovers),
        custom,
    ))
}

fn next_life(path: &Path) -> u32 {
    let mut counts = COUNTS.lock();
    let lives = &mut counts.get_or_insert_default().lives;
    let life = lives.entry(path.clone()).or_insert(0);
    *life += 1;
    *life
}

/// Whether somebody wanted this start to fail; if so, that is one less.
fn must_fail_start(names: Names<'_>, stages: &[Arc<Stage>]) -> bool {
    let mut wanted = FAIL_STARTS.lock();
    let Some(at) = wanted.iter().position(|wish| wish.pattern.matches(names)) else {
        return false;
    };
    wanted[at].left -= 1;
    if wanted[at].left == 0 {
        wanted.remove(at);
    }
    drop(wanted);
    turn_off_if_idle(stages);
    true
}

impl Subject {
    /// Writes down that something is done to it on purpose, so that what follows has a cause to point at.
    pub(crate) fn tell(&self, note: String) -> u64 {
        event::record(
            EventKind::Chaos,
            Draft {
                path: Some(&self.path),
                pid: Some(self.pid),
                incarnation: self.incarnation,
                note: Some(note),
                ..Draft::default()
            },
        )
    }
}

impl Stage {
    /// The rule and the seed, as events say it.
    pub(crate) fn note(&self, rule: usize) -> String {
        let rule = &self.chaos.rules[rule];
        format!("{rule}, seed {}", self.seed)
    }

    /// Books a fault; how it ends is booked later.
    pub(crate) fn strike(&self, doom: &Doom, subject: &Subject, turn: u32) {
        let mut books = self.books.lock();
        if books.struck.len() < STRUCK_MAX {
            books.struck.push(Struck {
                place: subject.place.clone(),
                number: subject.number,
                life: subject.life,
                turn,
                fault: doom.fault.name().to_owned(),
            });
        }
        let is_stall = matches!(doom.fault, Fault::Stall(_));
        let Books { rules, falls, .. } = &mut *books;
        rules[doom.rule].struck += 1;
        if subject.is_restarted {
            let is_known = falls.contains_key(&subject.path);
            if is_known || falls.len() < OPEN_FALLS_MAX {
                let fall = (doom.rule, Instant::now());
                falls.entry(subject.path.clone()).or_default().push(fall);
            }
        } else if !is_stall {
            rules[doom.rule].for_good += 1;
        }
    }

    /// A stall of a process that nobody restarts is over.
    pub(crate) fn stood_up(&self, doom: &Doom, subject: &Subject, after: Duration) {
        if subject.is_restarted {
            return self.is_well(subject);
        }
        self.books.lock().rules[doom.rule].recover(after);
    }

    /// A place is well again: whatever befell it is over.
    pub(crate) fn is_well(&self, subject: &Subject) {
        let mut books = self.books.lock();
        let falls = books.falls.remove(&subject.path);
        for (rule, at) in falls.into_iter().flatten() {
            books.rules[rule].recover(at.elapsed());
        }
    }
}

impl RuleBook {
    fn recover(&mut self, after: Duration) {
        self.recovered += 1;
        if self.times.len() < TIMES_MAX {
            self.times.push(after);
        }
    }
}
