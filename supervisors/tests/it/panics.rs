//! A panic anywhere in an actor ends that actor alone, once, with its reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    Context, During, ExitReason, Init, Pid, Placement, Spawn, is_alive, register, whereis,
};
use futures_util::stream;

use crate::support::{
    Grenade, Log, Puppet, Strings, child, child_case, eventually, panic_of, puppet, settle, system,
    unique,
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Site {
    Factory,
    Init,
    Handler,
    Started,
    Stopping,
    Stopped,
    Timer,
    Stream,
    Future,
    Wait,
    ActFuture,
    Atomic,
    Notify,
    DropActor,
    DropFuture,
    DropWait,
}

const SITES: [Site; 16] = [
    Site::Factory,
    Site::Init,
    Site::Handler,
    Site::Started,
    Site::Stopping,
    Site::Stopped,
    Site::Timer,
    Site::Stream,
    Site::Future,
    Site::Wait,
    Site::ActFuture,
    Site::Atomic,
    Site::Notify,
    Site::DropActor,
    Site::DropFuture,
    Site::DropWait,
];

impl Site {
    fn during(self) -> During {
        match self {
            Self::Factory | Self::Init => During::Init,
            Self::Handler | Self::Notify => During::Message,
            Self::Started => During::Started,
            Self::Stopping => During::Stopping,
            Self::Stopped => During::Stopped,
            Self::DropActor | Self::DropFuture | Self::DropWait => During::Drop,
            _ => During::Future,
        }
    }

    fn in_message(self) -> Option<&'static str> {
        match self {
            Self::Handler => Some("it::panics::Go"),
            Self::Notify => Some("it::panics::Boom"),
            _ => None,
        }
    }
}

/// Panics at one place of its life; counts what runs after that.
struct Bomb {
    site: Site,
    /// False: everything is in place, but nothing goes off.
    is_live: bool,
    fate: Arc<Fate>,
}

#[derive(Default)]
struct Fate {
    has_crashed: AtomicBool,
    ran_after_crash: AtomicUsize,
}

impl Fate {
    fn step(&self) {
        if self.has_crashed.load(Ordering::SeqCst) {
            self.ran_after_crash.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn crash(&self, site: Site) -> ! {
        self.has_crashed.store(true, Ordering::SeqCst);
        panic!("bomb in {site:?}");
    }
}

impl Bomb {
    fn at(&self, site: Site) {
        self.fate.step();
        if self.is_live && self.site == site {
            self.fate.crash(site);
        }
    }

    /// A future that goes off when it is polled, or never ends.
    fn fuse(&self) -> impl Future<Output = ()> + 'static {
        let (is_live, site, fate) = (self.is_live, self.site, Arc::clone(&self.fate));
        async move {
            if is_live {
                fate.crash(site);
            }
            std::future::pending().await
        }
    }

    /// A future that never ends, and goes off when it is dropped.
    fn shell(&self) -> impl Future<Output = ()> + 'static {
        let shell = Shell(self.site, Arc::clone(&self.fate));
        async move {
            let _shell = shell;
            std::future::pending().await
        }
    }
}

struct Shell(Site, Arc<Fate>);

impl Drop for Shell {
    fn drop(&mut self) {
        self.1.crash(self.0);
    }
}

impl Actor for Bomb {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.at(Site::Started);
        let late = if self.is_live { 1 } else { 3_600_000 };
        match self.site {
            Site::Timer => {
                ctx.run_later(Duration::from_millis(late), |bomb, _| {
                    bomb.fate.crash(Site::Timer);
                });
            }
            Site::Stream if self.is_live => {
                ctx.add_stream(stream::iter([1, 2, 3]));
            }
            Site::Stream => {
                ctx.add_stream(stream::pending::<i32>());
            }
            Site::Future => {
                ctx.spawn(self.fuse().into_actor(self));
            }
            Site::Wait => ctx.wait(self.fuse().into_actor(self)),
            Site::DropFuture => {
                ctx.spawn(self.shell().into_actor(self));
            }
            Site::DropWait => {
                let shell = self.shell();
                ctx.run_later(Duration::from_millis(1), |bomb, ctx| {
                    ctx.wait(shell.into_actor(bomb));
                    if bomb.is_live {
                        ctx.stop();
                    }
                });
            }
            _ => {}
        }
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.at(Site::Stopping);
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.at(Site::Stopped);
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.site == Site::DropActor {
            self.fate.crash(Site::DropActor);
        }
    }
}

impl StreamHandler<i32> for Bomb {
    fn handle(&mut self, _: i32, _: &mut Self::Context) {
        self.at(Site::Stream);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Go;

impl Handler<Go> for Bomb {
    type Result = ();

    fn handle(&mut self, _: Go, ctx: &mut Self::Context) {
        self.at(Site::Handler);
        if !self.is_live {
            return;
        }
        match self.site {
            Site::Stopping | Site::Stopped | Site::DropActor | Site::DropFuture => ctx.stop(),
            Site::Notify => ctx.notify(Boom),
            _ => {}
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Boom;

impl Handler<Boom> for Bomb {
    type Result = ();

    fn handle(&mut self, _: Boom, _: &mut Self::Context) {
        self.at(Site::Notify);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Ask;

impl Handler<Ask> for Bomb {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.fuse().into_actor(self))
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct AskAtomic;

impl Handler<AskAtomic> for Bomb {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: AskAtomic, _: &mut Self::Context) -> Self::Result {
        AtomicResponse::new(Box::pin(self.fuse().into_actor(self)))
    }
}

/// Starts a bomb under a puppet's monitor, names it, and lights it.
async fn plant(site: Site, is_live: bool, placement: Placement) -> (Pid, String, Log, Arc<Fate>) {
    let (observer, log) = puppet();
    let fate = Arc::new(Fate::default());
    let name = unique("bomb");
    let (bomb_fate, bomb_name) = (Arc::clone(&fate), name.clone());
    let pid = observer
        .tell(move |me: &mut Puppet, ctx| {
            me.names.push(bomb_name.clone());
            let spawn = Spawn::new().at(placement).monitored_by(ctx);
            let fate = bomb_fate;
            let (bomb, monitor) = match site {
                Site::Init => spawn.start_init(move || async move {
                    tokio::task::yield_now().await;
                    if is_live {
                        fate.crash(site);
                    }
                    let never: Result<Init<Bomb>, ExitReason> = std::future::pending().await;
                    never
                }),
                _ => spawn.start(move |_| {
                    let bomb = Bomb {
                        site,
                        is_live,
                        fate,
                    };
                    bomb.at(Site::Factory);
                    bomb
                }),
            };
            assert!(monitor.is_some());
            let _ = register(bomb_name, bomb.pid());
            match site {
                Site::ActFuture => bomb.do_send(Ask),
                Site::Atomic => bomb.do_send(AskAtomic),
                _ => bomb.do_send(Go),
            }
            for _ in 0..3 {
                bomb.do_send(Boom);
            }
            bomb.pid()
        })
        .await;
    (pid, name, log, fate)
}

async fn check_crash(site: Site, placement: Placement) {
    let (pid, name, log, fate) = plant(site, true, placement).await;
    let downs = log.wait_downs(1).await;
    assert_eq!(downs[0].pid, Some(pid), "{site:?}");
    let panic = panic_of(&downs[0].reason);
    assert_eq!(panic.message, format!("bomb in {site:?}"));
    let location = panic.location.as_deref().unwrap_or_default();
    assert!(location.contains("panics.rs:"), "{site:?}: {location}");
    assert_eq!(panic.during, site.during(), "{site:?}");
    assert_eq!(panic.in_message, site.in_message(), "{site:?}");
    assert_eq!(fate.ran_after_crash.load(Ordering::SeqCst), 0, "{site:?}");
    assert!(!is_alive(pid), "{site:?}");
    assert_eq!(whereis(&name), None, "{site:?}");
    assert_eq!(
        log.notes(),
        [""; 0],
        "{site:?}: the name is free before the Down"
    );
}

#[test]
fn a_panic_anywhere_is_one_down_with_its_reason_on_the_same_arbiter() {
    system(async {
        for site in SITES {
            check_crash(site, Placement::Here).await;
        }
    });
}

#[test]
fn a_panic_anywhere_is_one_down_with_its_reason_on_another_arbiter() {
    system(async {
        let arbiter = Arbiter::new();
        for site in SITES {
            check_crash(site, Placement::On(arbiter.handle())).await;
        }
        arbiter.stop();
        arbiter.join().expect("the arbiter's thread did not panic");
    });
}

#[test]
fn an_arbiter_that_stops_is_one_down_with_noconnection_for_each_of_its_actors() {
    system(async {
        for site in SITES {
            let arbiter = Arbiter::new();
            if site == Site::Factory {
                // The launch itself finds nobody.
                arbiter.stop();
            }
            let (pid, name, log, fate) = plant(site, false, Placement::On(arbiter.handle())).await;
            if !matches!(site, Site::Factory) {
                let (reached, barrier) = tokio::sync::oneshot::channel();
                arbiter.spawn(async move {
                    // Behind the 1 ms timers.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    let _ = reached.send(());
                });
                barrier.await.expect("the arbiter runs");
                assert_eq!(log.downs().len(), 0, "{site:?}");
            }
            arbiter.stop();
            arbiter.join().expect("the arbiter's thread did not panic");
            let downs = log.wait_downs(1).await;
            assert_eq!(downs[0].reason, ExitReason::NoConnection, "{site:?}");
            assert_eq!(fate.ran_after_crash.load(Ordering::SeqCst), 0, "{site:?}");
            assert!(!is_alive(pid), "{site:?}");
            assert_eq!(whereis(&name), None, "{site:?}");
            assert_eq!(log.notes(), [""; 0], "{site:?}");
        }
    });
}

/// Panics in its handler, and again when it is dropped, and so does all it owns.
struct Twice;

impl Actor for Twice {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for _ in 0..2 {
            let grenade = Grenade("future");
            ctx.spawn(actix::fut::wrap_future(async move {
                let _grenade = grenade;
                std::future::pending().await
            }));
        }
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        panic!("stopping");
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        panic!("stopped");
    }
}

impl Drop for Twice {
    fn drop(&mut self) {
        panic!("drop");
    }
}

impl Handler<Go> for Twice {
    type Result = ();

    fn handle(&mut self, _: Go, ctx: &mut Self::Context) {
        for _ in 0..2 {
            let (spawned, waited) = (Grenade("spawned"), Grenade("waited"));
            ctx.spawn(actix::fut::wrap_future(async move {
                let _grenade = spawned;
                std::future::pending().await
            }));
            ctx.wait(actix::fut::wrap_future(async move {
                let _grenade = waited;
                std::future::pending().await
            }));
        }
        panic!("handler");
    }
}

/// A message that panics when it is dropped unread.
#[derive(Message)]
#[rtype(result = "()")]
struct Grim(Option<Grenade>);

impl Handler<Grim> for Twice {
    type Result = ();

    fn handle(&mut self, mut grim: Grim, _: &mut Self::Context) {
        std::mem::forget(grim.0.take());
    }
}

async fn everything_panics() -> (ExitReason, usize) {
    let (observer, log) = puppet();
    let twice = observer.tell(|_, ctx| ctx.spawn_monitor(Twice).0).await;
    settle().await;
    twice.do_send(Go);
    for _ in 0..3 {
        twice.do_send(Grim(Some(Grenade("message"))));
        twice
            .addr()
            .do_send(Grim(Some(Grenade("message by address"))));
    }
    let behind = twice.send(Go);
    let answer = behind.await;
    let reason = log.wait_downs(1).await[0].reason.clone();
    assert_eq!(
        answer,
        Err(byron_supervisors::SendError::Exited(reason.clone())),
        "the question behind messages that panic is answered as well"
    );
    (reason, log.downs().len())
}

#[test]
fn everything_that_can_panic_at_once_ends_one_actor_with_the_first_reason() {
    // In a child: it fails by abort.
    if child_case().as_deref() == Some("everything") {
        let (reason, downs) = system(everything_panics());
        assert_eq!(panic_of(&reason).message, "handler");
        assert_eq!(panic_of(&reason).during, During::Message);
        assert_eq!(downs, 1);
        return;
    }
    let output = child(
        "panics::everything_that_can_panic_at_once_ends_one_actor_with_the_first_reason",
        "everything",
    );
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_wait_that_panics_while_it_is_polled_and_again_while_it_is_dropped_does_not_abort() {
    const NAME: &str = "panics::a_wait_that_panics_while_it_is_polled_and_again_while_it_is_dropped_does_not_abort";
    struct Nasty;
    impl<A: Actor> ActorFuture<A> for Nasty {
        type Output = ();
        fn poll(
            self: std::pin::Pin<&mut Self>,
            _: &mut A,
            _: &mut A::Context,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<()> {
            panic!("polled");
        }
    }
    impl Drop for Nasty {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    if child_case().as_deref() == Some("wait") {
        system(async {
            let (observer, log) = puppet();
            let (victim, _) = puppet();
            observer.watch(victim.pid()).await;
            victim.cast(|_, ctx| ctx.wait(Nasty));
            let reason = log.wait_downs(1).await[0].reason.clone();
            assert_eq!(panic_of(&reason).message, "polled");
        });
        return;
    }
    let output = child(NAME, "wait");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_future_that_panics_when_cancelled_is_a_crash_in_drop() {
    system(async {
        let (observer, log) = puppet();
        let (victim, _) = puppet();
        observer.watch(victim.pid()).await;
        let handle = victim
            .tell(|_, ctx| {
                let grenade = Grenade("cancelled");
                ctx.spawn(actix::fut::wrap_future(async move {
                    let _grenade = grenade;
                    std::future::pending().await
                }))
            })
            .await;
        victim.cast(move |_, ctx| {
            ctx.cancel_future(handle);
        });
        let reason = log.wait_downs(1).await[0].reason.clone();
        assert_eq!(panic_of(&reason).message, "cancelled");
        assert_eq!(panic_of(&reason).during, During::Drop);
    });
}

#[test]
fn a_kill_stays_a_kill_when_the_actor_panics_in_drop() {
    system(async {
        let (observer, log) = puppet();
        let bomb = observer
            .tell(|_, ctx| {
                let bomb = Bomb {
                    site: Site::DropActor,
                    is_live: false,
                    fate: Arc::default(),
                };
                ctx.spawn_monitor(bomb).0.pid()
            })
            .await;
        byron_supervisors::kill(bomb);
        assert_eq!(log.wait_downs(1).await[0].reason, ExitReason::Killed);
    });
}

#[test]
fn a_panic_without_text_or_hook_still_has_a_reason() {
    system(async {
        let (observer, log) = puppet();
        for _ in 0..2 {
            let (victim, _) = puppet();
            observer.watch(victim.pid()).await;
            victim.cast(|_, _| {
                // One that leaves a place behind, caught by the actor itself, in an earlier turn.
                let _ = std::panic::catch_unwind(|| panic!("mine"));
            });
            settle().await;
            victim.cast(|_, _| std::panic::resume_unwind(Box::new(Grenade("payload"))));
        }
        for down in log.wait_downs(2).await {
            let panic = panic_of(&down.reason);
            assert_eq!(panic.message, "a payload that is not text");
            assert_eq!(panic.location, None);
        }
    });
}

#[test]
fn a_crash_does_not_touch_the_neighbours() {
    system(async {
        let (neighbour, _) = puppet();
        let (victim, _) = puppet();
        victim.cast(|_, _| panic!("alone"));
        eventually("the crash", || !is_alive(victim.pid())).await;
        assert_eq!(neighbour.tell(|_, _| 7).await, 7);
    });
}
