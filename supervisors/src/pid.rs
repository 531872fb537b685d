//! Process identifiers, and the table that leads from one to its process.
//!
//! A [`Pid`] is a number that is never used twice: comparing two of them, keeping one in a map or printing one
//! means the same thing for the life of the program. An `Addr` cannot promise that (it is compared by pointer, and a
//! freed pointer comes back).

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

use crate::process::Process;

/// Identifies one incarnation of one process, for ever.
///
/// Ordered by birth, `Copy`, and printed as Erlang prints a local pid: `<0.42.0>`. A restarted child is another process
/// and has another pid.
///
/// ```
/// # use byron_supervisors::Pid;
/// let pid: Pid = "<0.42.0>".parse()?;
/// assert_eq!(pid.to_string(), "<0.42.0>");
/// assert_eq!("42".parse(), Ok(pid));
/// # Ok::<(), byron_supervisors::ParsePidError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZeroU64);

/// On cache lines of its own: every start writes it, and whoever reads what lies beside it would wait for that.
#[repr(align(128))]
struct Next(AtomicU64);

static NEXT: Next = Next(AtomicU64::new(1));

impl Pid {
    pub(crate) fn next() -> Self {
        let number = NEXT.0.fetch_add(1, Ordering::Relaxed);
        Self(NonZeroU64::new(number).expect("64 bits of pids do not run out"))
    }

    /// The number itself, for formats that want one (JSON, metrics).
    pub fn as_u64(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<0.{}.0>", self.0)
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a pid: neither `<0.42.0>` nor `42`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pid; expected `<0.42.0>` or `42`")]
pub struct ParsePidError(String);

impl FromStr for Pid {
    type Err = ParsePidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix("<0.")
            .and_then(|rest| rest.strip_suffix(".0>"))
            .unwrap_or(text)
            .parse()
            .map(Self)
            .map_err(|_| ParsePidError(text.to_owned()))
    }
}

/// Where a number lies in a table: 64 in a row are neighbours, so that among very many processes those of today find their
/// places in the cache. Rows lie anywhere and begin anywhere, so that numbers at regular distances do not meet.
fn place(number: u64) -> u64 {
    let spread = (number / 64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let row = spread.rotate_left(26);
    let in_row = number.wrapping_add(spread >> 58) % 64;
    // By its first bits the table tells neighbours apart.
    (row & !63 | in_row) ^ (number << 57)
}

/// Pids are already distinct numbers: a hash has only to spread them over a table.
#[derive(Default)]
pub(crate) struct PidHasher(u64);

impl Hasher for PidHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = place(self.0 ^ number);
    }
}

pub(crate) type PidMap<V> = HashMap<Pid, V, BuildHasherDefault<PidHasher>>;

/// For the pids of one shard, which are those of one remainder.
#[derive(Default)]
struct ShardHasher(PidHasher);

impl Hasher for ShardHasher {
    fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0.write_u64(number / SHARDS as u64);
    }
}

/// How many locks the table is spread over, so that arbiters do not queue behind each other.
const SHARDS: usize = 64;

/// A shard this small is not worth shrinking.
const PLACES_MIN: usize = 256;

/// On cache lines of its own: neighbours are of other arbiters as often as not.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Processes>);

type Processes = HashMap<Pid, Arc<dyn Process>, BuildHasherDefault<ShardHasher>>;

static TABLE: LazyLock<Box<[Shard]>> =
    LazyLock::new(|| (0..SHARDS).map(|_| Shard::default()).collect());

fn shard(pid: Pid) -> &'static Mutex<Processes> {
    &TABLE[(pid.as_u64() % SHARDS as u64) as usize].0
}

pub(crate) fn insert(process: Arc<dyn Process>) {
    let pid = process.core().pid();
    shard(pid).lock().insert(pid, process);
}

/// Forgets a dead process.
pub(crate) fn remove(pid: Pid) {
    let process = {
        let mut shard = shard(pid).lock();
        let process = shard.remove(&pid);
        // After a crowd has left; amortised.
        if shard.capacity() > PLACES_MIN && shard.len() < shard.capacity() / 8 {
            let places = shard.len() * 2;
            shard.shrink_to(places);
        }
        process
    };
    // Outside the lock: the last handle may run user code (`Drop` of queued messages).
    drop(process);
}

/// The process, dead or alive, until everybody who watches it was told.
pub(crate) fn find(pid: Pid) -> Option<Arc<dyn Process>> {
    shard(pid).lock().get(&pid).cloned()
}

pub(crate) fn lookup(pid: Pid) -> Option<Arc<dyn Process>> {
    find(pid).filter(|process| !process.core().is_dead())
}

/// True while the process runs (Erlang's `is_process_alive/1`).
pub fn is_alive(pid: Pid) -> bool {
    lookup(pid).is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn numbers_at_any_regular_distance_have_places_of_their_own() {
        const PLACES: u64 = 4096;
        for distance in (0..20).map(|bits| 1 << bits) {
            let mut taken: HashMap<u64, usize> = HashMap::new();
            for number in 0..PLACES / 2 {
                *taken.entry(place(number * distance) % PLACES).or_default() += 1;
            }
            let most = taken.values().max().copied().unwrap_or_default();
            // The table looks at 16 places at once.
            assert!(most <= 16, "{most} at one place, distance {distance}");
        }
    }

    #[test]
    fn numbers_in_a_row_are_neighbours_that_differ_in_their_first_bits() {
        let row: Vec<u64> = (0..16).map(place).collect();
        let rows: Vec<u64> = row.iter().map(|place| (place % (1 << 40)) / 64).collect();
        assert!(rows.windows(2).all(|pair| pair[0] == pair[1]), "{rows:?}");
        let mut first: Vec<u64> = row.iter().map(|place| place >> 57).collect();
        first.sort();
        first.dedup();
        assert_eq!(first.len(), 16);
    }
}
