//! One partition for each arbiter, and the way to them.

use std::collections::BTreeSet;
use std::thread::{self, ThreadId};

use actix::prelude::*;
use byron_supervisors::{
    ArbiterPool, ChildType, Context, CountChildren, DynamicFlags, DynamicSupervisor, ExitReason,
    PartitionSupervisor, Restart, Shutdown, SupFlags, Supervisor, exited, kill,
};

use crate::sup_support::{Ask, eventually, flags, paused, settle, start, system, unique};

struct Cache(usize);

impl Actor for Cache {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "(usize, ThreadId)")]
struct Who;

impl Handler<Who> for Cache {
    type Result = MessageResult<Who>;

    fn handle(&mut self, _: Who, _: &mut Context<Self>) -> Self::Result {
        MessageResult((self.0, thread::current().id()))
    }
}

fn caches(count: usize) -> PartitionSupervisor<Cache> {
    PartitionSupervisor::new(count, |_, partition| Cache(partition))
}

#[test]
fn a_number_leads_to_the_partition_that_is_its_remainder() {
    paused(async {
        let caches = caches(3);
        assert_eq!(caches.whereis_partition(0), None, "nothing runs yet");
        caches
            .start(&unique("caches"), flags(0))
            .await
            .expect("all start");
        for key in [0, 1, 2, 3, 4, 5, u64::MAX] {
            let cache = caches.whereis_partition(key).expect("it runs");
            let (partition, _) = cache.send(Who).await.expect("it answers");
            assert_eq!(partition as u64, key % 3);
        }
    });
}

#[test]
fn a_hashed_key_leads_to_the_same_partition_and_keys_spread() {
    paused(async {
        let caches = caches(4);
        caches
            .start(&unique("caches"), flags(0))
            .await
            .expect("all start");
        let mut found = BTreeSet::new();
        for key in 0..100 {
            let key = format!("poem-{key}");
            let cache = caches.whereis_partition_of(&key).expect("it runs");
            assert_eq!(caches.whereis_partition_of(&*key), Some(cache.clone()));
            found.insert(cache.pid());
        }
        assert_eq!(found.len(), 4);
    });
}

#[test]
fn there_is_one_partition_on_each_arbiter() {
    system(async {
        let arbiters: Vec<_> = (0..3).map(|_| Arbiter::new()).collect();
        let pool = ArbiterPool::new(arbiters.iter().map(Arbiter::handle));
        let caches = PartitionSupervisor::new(pool, |_, partition| Cache(partition));
        assert_eq!(caches.partitions(), 3);
        caches
            .start(&unique("caches"), flags(0))
            .await
            .expect("all start");
        let mut threads = Vec::new();
        for key in 0..3 {
            let cache = caches.whereis_partition(key).expect("it runs");
            threads.push(cache.send(Who).await.expect("it answers").1);
        }
        threads.push(thread::current().id());
        threads.dedup();
        assert_eq!(threads.len(), 4);
    });
}

#[test]
fn a_restarted_partition_is_found_where_it_was() {
    paused(async {
        let caches = caches(2);
        let sup = start(flags(9), vec![caches.child_spec("caches", flags(9))]).await;
        let old = caches.whereis_partition(1).expect("it runs");
        kill(old.pid());
        exited(old.pid()).await;
        eventually("it is back", || caches.whereis_partition(1).is_some()).await;
        let new = caches.whereis_partition(1).expect("it runs");
        assert_ne!(old, new);
        assert_eq!(new.send(Who).await.map(|who| who.0), Ok(1));

        // And when the supervisor itself was restarted.
        kill(sup.pid_of("caches").await);
        settle().await;
        assert_ne!(caches.whereis_partition(1), Some(new));
        assert!(caches.whereis_partition(0).is_some());
    });
}

#[test]
fn partitions_may_be_supervisors() {
    paused(async {
        let flags = DynamicFlags::new("download");
        let downloads = PartitionSupervisor::with_template(
            2,
            |spec| {
                spec.child_type(ChildType::Supervisor)
                    .shutdown(Shutdown::Infinity)
                    .restart(Restart::Transient)
            },
            move |_, _| DynamicSupervisor::new(flags.clone()),
        );
        let sup = downloads
            .start(&unique("downloads"), SupFlags::default())
            .await;
        let sup = sup.expect("all start");
        let counts = sup.send(CountChildren::now()).await.expect("it lives");
        assert_eq!((counts.supervisors, counts.workers), (2, 0));
        let partition = downloads.whereis_partition(0).expect("it runs");
        let counts = partition.send(CountChildren::now()).await;
        assert_eq!(counts.map(|counts| counts.workers), Ok(0));
    });
}

#[test]
fn partitions_go_with_their_supervisor() {
    paused(async {
        let caches = caches(2);
        let sup: byron_supervisors::ActorRef<Supervisor> = caches
            .start(&unique("caches"), flags(0))
            .await
            .expect("all start");
        let end = exited(sup.pid());
        byron_supervisors::exit(sup.pid(), ExitReason::SHUTDOWN);
        end.await;
        assert_eq!(caches.whereis_partition(0), None);
    });
}

#[test]
#[should_panic(expected = "there is at least one partition")]
fn no_partition_is_one_too_few() {
    caches(0);
}
