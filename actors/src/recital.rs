//! The recital: the poem, and the manner in which each connection recites it. The protocol of a poem server.
//!
//! Plain shared state, not an actor: the way of a poem must not lead through anybody's mailbox.

use std::sync::Arc;
use std::time::Duration;

use byron_supervisors::StartDynamicChild;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::binding::ListenOn;
use crate::connection::Connection;
use crate::gate::Permit;
use crate::netstring;
use crate::poem::Poem;
use crate::protocol::{CONNECTIONS_MAX, Limits, Protocol};
use crate::stream::{Accepted, LINGER_TIMEOUT};
use crate::wire::{Frame, Pace};

/// How long a reader may read nothing at all before it is cut off, if nothing else is said.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How a poem is served.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// `None` recites as fast as the reader reads.
    pub pace: Option<Pace>,
    /// How a reader knows the end.
    pub frame: Frame,
    /// How many readers are served at once; the next ones wait in the kernel's queue.
    pub connections_max: usize,
    /// How long a reader may read nothing at all.
    pub write_timeout: Duration,
    /// How long a reader who has been sent everything may take to leave.
    pub linger_timeout: Duration,
    /// Serve so many readers to the end, then close; those who leave early do not count.
    pub readers: Option<u64>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            pace: None,
            frame: Frame::Eof,
            connections_max: CONNECTIONS_MAX,
            write_timeout: WRITE_TIMEOUT,
            linger_timeout: LINGER_TIMEOUT,
            readers: None,
        }
    }
}

impl Manner {
    /// For how many.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            connections_max: self.connections_max,
            connections: self.readers,
        }
    }
}

/// What a poem server serves, where and how.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The poem.
    pub poem: Poem,
    /// Where.
    pub listen: ListenOn,
    /// How.
    pub manner: Manner,
}

impl ServerConfig {
    /// As fast as the readers read, on both loopback addresses, with the default limits.
    pub fn new(poem: Poem, port: u16) -> Self {
        Self {
            poem,
            listen: ListenOn::loopback(port),
            manner: Manner::default(),
        }
    }
}

/// The protocol of a poem server.
#[derive(Debug)]
pub(crate) struct Recital {
    text: Mutex<Text>,
    manner: Arc<Manner>,
}

/// A poem, and what is said of it.
#[derive(Debug)]
struct Text {
    poem: Poem,
    said: Bytes,
}

impl Text {
    fn new(poem: Poem, frame: Frame) -> Self {
        let said = match frame {
            Frame::Eof => poem.text.clone(),
            Frame::Netstring => netstring::frame(&poem.text),
        };
        Self { poem, said }
    }
}

impl Recital {
    pub(crate) fn new(poem: Poem, manner: Manner) -> Self {
        Self {
            text: Mutex::new(Text::new(poem, manner.frame)),
            manner: Arc::new(manner),
        }
    }

    /// The poem that the next reader hears.
    pub(crate) fn poem(&self) -> Poem {
        self.text.lock().poem.clone()
    }

    /// From the next reader on, another poem; those who are listening hear the old one to its end.
    pub(crate) fn set_poem(&self, poem: Poem) -> Poem {
        let text = Text::new(poem, self.manner.frame);
        std::mem::replace(&mut *self.text.lock(), text).poem
    }
}

impl Protocol for Recital {
    fn name(&self) -> &'static str {
        "poem"
    }

    fn start(self: Arc<Self>, accepted: Accepted, permit: Permit) -> StartDynamicChild {
        let said = self.text.lock().said.clone();
        let manner = Arc::clone(&self.manner);
        let connection = Connection::new(accepted, said, manner, permit);
        StartDynamicChild::once(move |_| connection)
    }
}
