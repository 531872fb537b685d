//! The last lines of the log, in memory: for whoever asks what was logged, and for bundles.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::observe::model::LogRecord;

/// How many records are kept.
pub const TAIL_LINES_MAX: usize = 1_000;

/// How many bytes of records are kept, by estimate.
pub const TAIL_BYTES_MAX: usize = 512 * 1024;

/// The last records, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tail {
    /// The records that are still there.
    pub records: Vec<LogRecord>,
    /// How many after the asked-for number are gone.
    pub missed: u64,
    /// The number of the last record there is; 0 before the first.
    pub last: u64,
}

#[derive(Default)]
struct Ring {
    /// With the bytes of each.
    records: VecDeque<(LogRecord, usize)>,
    bytes: usize,
    last: u64,
}

impl Ring {
    fn keep(&mut self, record: LogRecord) {
        let bytes = bytes(&record);
        self.last += 1;
        self.bytes += bytes;
        self.records.push_back((record, bytes));
        while self.records.len() > TAIL_LINES_MAX || self.bytes > TAIL_BYTES_MAX {
            let Some((_, bytes)) = self.records.pop_front() else {
                break;
            };
            self.bytes -= bytes;
        }
    }

    fn since(&self, number: u64) -> Tail {
        let first = self.last - self.records.len() as u64 + 1;
        let next = number.saturating_add(1);
        let skip = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX);
        let records = self.records.iter().skip(skip);
        Tail {
            records: records.map(|(record, _)| record.clone()).collect(),
            missed: first.saturating_sub(next),
            last: self.last,
        }
    }
}

fn bytes(record: &LogRecord) -> usize {
    let fields = record.fields.0.iter();
    let fields = fields.map(|(key, value)| key.len() + value.as_str().map_or(8, str::len) + 64);
    size_of::<LogRecord>()
        + record.path.as_ref().map_or(0, String::len)
        + record.msg.len()
        + record.target.len()
        + fields.sum::<usize>()
}

static RING: Mutex<Ring> = Mutex::new(Ring {
    records: VecDeque::new(),
    bytes: 0,
    last: 0,
});

pub(super) fn keep(record: LogRecord) {
    RING.lock().keep(record);
}

/// The records after this number, counted from 1; 0 asks for all that are left.
pub fn tail_since(number: u64) -> Tail {
    RING.lock().since(number)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::observe::model::Fields;

    fn record(msg: String) -> LogRecord {
        LogRecord {
            ts: Timestamp::UNIX_EPOCH,
            level: "INFO".into(),
            path: None,
            incarnation: None,
            event: None,
            msg,
            target: String::new(),
            fields: Fields::default(),
        }
    }

    #[test]
    fn the_last_records_are_kept_and_the_others_counted() {
        let mut ring = Ring::default();
        assert_eq!(ring.since(0), Tail::default());
        for number in 1..=TAIL_LINES_MAX + 5 {
            ring.keep(record(number.to_string()));
        }
        let all = ring.since(0);
        assert_eq!((all.records.len(), all.missed), (TAIL_LINES_MAX, 5));
        assert_eq!(all.records[0].msg, "6");
        let rest = ring.since(all.last - 1);
        assert_eq!((rest.records.len(), rest.missed), (1, 0));
        assert_eq!(ring.since(u64::MAX).records, []);
    }

    #[test]
    fn long_records_take_the_room_of_many() {
        let mut ring = Ring::default();
        for _ in 0..100 {
            ring.keep(record("x".repeat(TAIL_BYTES_MAX / 10)));
            assert!(ring.bytes <= TAIL_BYTES_MAX);
        }
        assert_eq!(ring.records.len(), 9);
    }
}
