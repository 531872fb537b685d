//! The rules of the cache as tables, and against a model that remembers everything and thinks anew each time.

use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

const RULES: CacheRules = CacheRules {
    ttl: Ttl::For(Duration::from_secs(100)),
    grace: Duration::from_secs(10),
    stale_if_error: Duration::from_secs(50),
    error_ttl: Duration::from_secs(2),
    bytes_max: 1000,
};

/// Something kept at 0 by these rules.
fn kept(rules: CacheRules) -> Ledger<&'static str> {
    let mut ledger = Ledger::new(rules);
    ledger.begin();
    assert!(ledger.fetched("old", 4, at(0)));
    ledger
}

fn serve(status: CacheStatus, refresh: bool) -> Verdict {
    Verdict::Serve { status, refresh }
}

fn fetch(status: CacheStatus, or_kept: bool) -> Verdict {
    Verdict::Fetch { status, or_kept }
}

#[test]
fn what_a_reader_gets_depends_on_the_age_of_what_is_kept() {
    use CacheStatus::{Expired, Hit, Updating};
    for (now, verdict) in [
        (0, serve(Hit, false)),
        (99, serve(Hit, false)),
        (100, serve(Updating, true)),
        (109, serve(Updating, true)),
        (110, fetch(Expired, true)),
        (159, fetch(Expired, true)),
        (160, fetch(Expired, false)),
    ] {
        assert_eq!(kept(RULES).ask(at(now)), verdict, "{now}");
    }
}

#[test]
fn nobody_begins_a_second_fetch() {
    for (now, verdict) in [
        (99, serve(CacheStatus::Hit, false)),
        (100, serve(CacheStatus::Updating, false)),
        (110, Verdict::Join { or_kept: true }),
        (160, Verdict::Join { or_kept: false }),
    ] {
        let mut ledger = kept(RULES);
        ledger.begin();
        assert_eq!(ledger.ask(at(now)), verdict, "{now}");
    }
}

#[test]
fn a_dead_upstream_is_left_alone_for_the_error_ttl() {
    for (failed_at, now, verdict) in [
        (100, 101, serve(CacheStatus::Stale, false)),
        (100, 102, serve(CacheStatus::Updating, true)),
        (110, 111, serve(CacheStatus::Stale, false)),
        (110, 112, fetch(CacheStatus::Expired, true)),
        (160, 161, Verdict::Refuse),
        (160, 162, fetch(CacheStatus::Expired, false)),
    ] {
        let mut ledger = kept(RULES);
        ledger.begin();
        ledger.failed(true, at(failed_at));
        assert_eq!(ledger.ask(at(now)), verdict, "{failed_at} {now}");
    }
}

#[test]
fn an_upstream_that_broke_off_is_asked_again_at_once_if_there_is_no_old_poem() {
    let mut ledger = Ledger::<()>::new(RULES);
    ledger.begin();
    ledger.failed(false, at(0));
    assert_eq!(ledger.ask(at(0)), fetch(CacheStatus::Miss, false));
    let mut ledger = kept(RULES);
    ledger.begin();
    ledger.failed(false, at(120));
    assert_eq!(ledger.ask(at(120)), serve(CacheStatus::Stale, false));
}

#[test]
fn a_ttl_of_nothing_keeps_nothing_and_one_of_ever_keeps_it_for_ever() {
    let coalesce = CacheRules {
        ttl: Duration::ZERO.into(),
        ..RULES
    };
    let mut ledger = Ledger::new(coalesce);
    assert_eq!(ledger.ask(at(0)), fetch(CacheStatus::Bypass, false));
    ledger.begin();
    assert_eq!(ledger.ask(at(0)), Verdict::Join { or_kept: false });
    assert!(!ledger.fetched("poem", 4, at(1)));
    assert_eq!(ledger.ask(at(1)), fetch(CacheStatus::Bypass, false));

    let forever = CacheRules {
        ttl: Ttl::Forever,
        ..RULES
    };
    let mut ledger = kept(forever);
    assert_eq!(ledger.ask(at(u64::MAX)), serve(CacheStatus::Hit, false));
}

#[test]
fn a_purge_is_of_everything_asked_for_before_it() {
    let mut ledger = kept(RULES);
    assert!(ledger.purge());
    assert!(!ledger.purge());
    assert_eq!(ledger.ask(at(1)), fetch(CacheStatus::Miss, false));
    ledger.begin();
    ledger.purge();
    assert!(!ledger.fetched("as old as the purge", 4, at(2)));
    assert_eq!(ledger.ask(at(2)), fetch(CacheStatus::Miss, false));
    ledger.begin();
    assert!(ledger.fetched("new", 4, at(3)));
    assert_eq!(ledger.ask(at(3)), serve(CacheStatus::Hit, false));
}

#[test]
fn a_soft_purge_is_an_early_end_of_the_freshness() {
    let mut ledger = kept(RULES);
    assert!(ledger.purge_softly(at(20)));
    // Again: the first one counts.
    assert!(ledger.purge_softly(at(25)));
    for (now, verdict) in [
        (25, serve(CacheStatus::Updating, true)),
        (30, fetch(CacheStatus::Expired, true)),
        (80, fetch(CacheStatus::Expired, false)),
    ] {
        assert_eq!(ledger.ask(at(now)), verdict, "{now}");
    }
    let mut ledger = kept(RULES);
    ledger.purge_softly(at(100_000));
    assert_eq!(ledger.ask(at(105)), serve(CacheStatus::Updating, true));
}

#[test]
fn a_purge_lets_a_dead_upstream_be_asked_at_once() {
    let mut ledger = Ledger::<()>::new(RULES);
    ledger.failed(true, at(0));
    assert_eq!(ledger.ask(at(0)), Verdict::Refuse);
    ledger.purge();
    assert_eq!(ledger.ask(at(0)), fetch(CacheStatus::Miss, false));
}

#[test]
fn what_is_longer_than_the_cache_is_not_kept() {
    let mut ledger = Ledger::new(RULES);
    ledger.begin();
    assert!(!ledger.fetched("long", 1001, at(0)));
    ledger.begin();
    assert!(ledger.fetched("just fits", 1000, at(0)));
}

#[test]
fn a_clock_that_stands_before_the_poem_makes_it_new_not_old() {
    let mut ledger = Ledger::new(RULES);
    ledger.restore(Kept {
        what: "from tomorrow",
        fetched_at: at(500),
        outdated_at: None,
        used_at: at(500),
    });
    assert_eq!(ledger.ask(at(400)), serve(CacheStatus::Hit, false));
}

#[test]
fn those_go_first_that_nobody_has_asked_for_the_longest() {
    let occupied = |used: [u64; 3]| {
        let poems = used.into_iter().enumerate();
        poems
            .map(|(desk, used)| Occupied {
                desk,
                bytes: 300,
                used_at: at(used),
            })
            .collect::<Vec<_>>()
    };
    for (bytes, evicted) in [
        (100, vec![]),
        (101, vec![2]),
        (400, vec![2]),
        (401, vec![2, 0]),
        (1000, vec![2, 0, 1]),
    ] {
        assert_eq!(
            evictions(occupied([5, 9, 1]), bytes, 1000),
            evicted,
            "{bytes}"
        );
    }
}

/// What happens to a cache.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Wait(u64),
    Ask,
    Fetched { bytes: u64 },
    Failed { is_dead: bool },
    CalledOff,
    Purge,
    PurgeSoftly,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..60u64).prop_map(Happening::Wait),
        4 => Just(Happening::Ask),
        3 => (1..1200u64).prop_map(|bytes| Happening::Fetched { bytes }),
        2 => any::<bool>().prop_map(|is_dead| Happening::Failed { is_dead }),
        1 => Just(Happening::CalledOff),
        1 => Just(Happening::Purge),
        1 => Just(Happening::PurgeSoftly),
    ]
}

fn rules() -> impl Strategy<Value = CacheRules> {
    let ttl = prop_oneof![
        Just(Ttl::Coalesce),
        (1..200u64).prop_map(|seconds| Ttl::For(Duration::from_secs(seconds))),
        Just(Ttl::Forever),
    ];
    (ttl, 0..30u64, 0..100u64, 0..20u64).prop_map(|(ttl, grace, stale, error)| CacheRules {
        ttl,
        grace: Duration::from_secs(grace),
        stale_if_error: Duration::from_secs(stale),
        error_ttl: Duration::from_secs(error),
        bytes_max: 1000,
    })
}

/// Everything that happened, with its second. What holds now is looked up in it, from the end.
#[derive(Default)]
struct Model(Vec<(u64, &'static str, u64)>);

impl Model {
    fn last(&self, what: &[&str]) -> Option<(usize, u64, u64)> {
        let found = self
            .0
            .iter()
            .rposition(|(_, name, _)| what.contains(name))?;
        Some((found, self.0[found].0, self.0[found].2))
    }

    fn is_after(&self, what: &[&str], place: usize) -> bool {
        self.last(what).is_some_and(|(found, ..)| found > place)
    }

    fn is_fetching(&self) -> bool {
        self.last(&["begin"])
            .is_some_and(|(begin, ..)| !self.is_after(&["fetched", "failed", "called off"], begin))
    }

    /// When the poem was whole that may be served, and when it was purged softly.
    fn kept(&self, rules: &CacheRules) -> Option<(u64, Option<u64>)> {
        let (mut kept, mut begun_at) = (None, None);
        for (place, (second, name, bytes)) in self.0.iter().enumerate() {
            match *name {
                "begin" => begun_at = Some(place),
                "fetched" => {
                    let begun = begun_at.expect("the model begins before it ends");
                    let between = &self.0[begun..place];
                    let is_purged = between.iter().any(|(_, name, _)| name.starts_with("purge"));
                    if !is_purged && *bytes <= rules.bytes_max && rules.ttl != Ttl::Coalesce {
                        kept = Some((*second, None));
                    }
                }
                "purge" => kept = None,
                "purge softly" => {
                    kept = kept.map(|(whole, outdated): (u64, Option<u64>)| {
                        (whole, outdated.or(Some(*second)))
                    });
                }
                _ => {}
            }
        }
        kept
    }

    fn verdict(&self, rules: &CacheRules, now: u64) -> Verdict {
        let seconds = |duration: Duration| duration.as_secs();
        let trouble = self.last(&["failed"]).filter(|(place, second, _)| {
            !self.is_after(&["fetched", "purge", "purge softly"], *place)
                && now - second < seconds(rules.error_ttl)
        });
        let kept = self.kept(rules);
        let stale_for = kept.map(|(whole, outdated)| {
            let by_ttl = match rules.ttl {
                Ttl::For(ttl) => Some(whole + seconds(ttl)),
                _ => None,
            };
            let ends = by_ttl.into_iter().chain(outdated).min();
            ends.filter(|ends| *ends <= now).map(|ends| now - ends)
        });
        let grace = seconds(rules.grace);
        let usable_until = grace + seconds(rules.stale_if_error);
        let is_fetching = self.is_fetching();
        match stale_for {
            Some(None) => serve(CacheStatus::Hit, false),
            Some(Some(stale)) if stale < grace && is_fetching => {
                serve(CacheStatus::Updating, false)
            }
            Some(Some(stale)) if stale < grace && trouble.is_none() => {
                serve(CacheStatus::Updating, true)
            }
            Some(Some(stale)) if stale < usable_until && trouble.is_some() && !is_fetching => {
                serve(CacheStatus::Stale, false)
            }
            other => {
                let or_kept = other.flatten().is_some_and(|stale| stale < usable_until);
                let is_dead = trouble.is_some_and(|(.., is_dead)| is_dead == 1);
                if is_fetching {
                    Verdict::Join { or_kept }
                } else if is_dead && !or_kept {
                    Verdict::Refuse
                } else if rules.ttl == Ttl::Coalesce {
                    fetch(CacheStatus::Bypass, or_kept)
                } else if kept.is_some() {
                    fetch(CacheStatus::Expired, or_kept)
                } else {
                    fetch(CacheStatus::Miss, or_kept)
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_says_what_a_model_says_that_remembers_everything(
        rules in rules(),
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let (mut ledger, mut model) = (Ledger::new(rules), Model::default());
        let mut now = 1000;
        for happening in happenings {
            match happening {
                Happening::Wait(seconds) => now += seconds,
                Happening::Ask => {
                    let verdict = ledger.ask(at(now));
                    prop_assert_eq!(verdict, model.verdict(&rules, now), "at {}: {:?}", now, model.0);
                    if matches!(verdict, Verdict::Fetch { .. } | Verdict::Serve { refresh: true, .. }) {
                        ledger.begin();
                        model.0.push((now, "begin", 0));
                    }
                }
                Happening::Fetched { bytes } if model.is_fetching() => {
                    model.0.push((now, "fetched", bytes));
                    let keeps = ledger.fetched((), bytes, at(now));
                    let is_kept = model.kept(&rules).is_some_and(|(whole, outdated)| whole == now && outdated.is_none());
                    prop_assert!(!keeps || is_kept);
                }
                Happening::Failed { is_dead } if model.is_fetching() => {
                    model.0.push((now, "failed", u64::from(is_dead)));
                    ledger.failed(is_dead, at(now));
                }
                Happening::CalledOff if model.is_fetching() => {
                    model.0.push((now, "called off", 0));
                    ledger.call_off();
                }
                Happening::Purge => {
                    model.0.push((now, "purge", 0));
                    ledger.purge();
                }
                Happening::PurgeSoftly => {
                    model.0.push((now, "purge softly", 0));
                    ledger.purge_softly(at(now));
                }
                _ => {}
            }
        }
    }
}
